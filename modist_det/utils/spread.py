"""A few of many, evenly spread."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly_spread"]


def evenly_spread(length: int, count: int) -> list[int]:
    """At most ``count`` indices below ``length``, ascending, from the first to the last; each once."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()
