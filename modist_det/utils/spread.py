"""Choose evenly spaced items and moments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["evenly_spread", "middles"]


def evenly_spread(length: int, count: int) -> list[int]:
    """At most ``count`` distinct indices in ascending order, evenly spaced from 0 to ``length - 1``."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def middles(duration: float, count: int) -> NDArray[np.float64]:
    """Middles (``count``,) of equal parts of ``duration`` seconds."""
    return (np.arange(count) + 0.5) * duration / count
