"""Choose evenly spaced items."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly_spread"]


def evenly_spread(length: int, count: int) -> list[int]:
    """At most ``count`` distinct indices in ascending order, evenly spaced from 0 to ``length - 1``."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()
