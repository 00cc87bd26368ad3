"""Which frame belongs to a time, and what the times of a video's frames say: rates and pauses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MAX_NEAREST_GAP",
    "as_indices",
    "as_seconds",
    "average_rate",
    "longest_pause",
    "nearest",
    "nearest_frames",
    "reach",
    "simple_rate",
]

# Between frames closer than this (seconds), a time belongs to the nearer one. In longer gaps (screen recordings,
# time-lapses) it belongs to the frame before, which was still visible.
MAX_NEAREST_GAP = 1.0
_PAUSE = 5.0  # seconds without a new frame that a check reports
_ROUNDED = 1e-3  # seconds by which times that people write down are rounded


def as_indices(indices: ArrayLike) -> NDArray[np.int64]:
    """Frame numbers as an array (T,); negative ones become 0."""
    array = np.asarray(indices)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"frame indices are a list of whole numbers, not {indices!r}")
    return np.maximum(array.astype(np.int64), 0)


def as_seconds(seconds: ArrayLike) -> NDArray[np.float64]:
    """Times as an array (T,) of finite numbers; negative ones become 0."""
    array = np.asarray(seconds, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"times are a list of finite numbers of seconds, not {seconds!r}")
    return np.maximum(array, 0.0)


def nearest_frames(seconds: NDArray[np.float64], rate: Fraction) -> NDArray[np.int64]:
    """Numbers of the frames that :func:`nearest` chooses for ``seconds`` where frame ``i`` stands at ``i / rate``.

    Halves round down.
    """
    if 1 / rate > MAX_NEAREST_GAP:
        return np.floor((seconds + _ROUNDED) * float(rate)).astype(np.int64)
    return np.ceil(seconds * float(rate) - 0.5 - 1e-6).astype(np.int64)


def nearest(
    sorted_times: NDArray[np.float64], wanted: NDArray[np.float64], tolerance: float, second: float = 1.0
) -> NDArray[np.intp]:
    """For each requested time the index of the nearest of ``sorted_times``, or the earlier of two equally near.

    Across a gap of more than ``MAX_NEAREST_GAP`` seconds it is the earlier one up to the later one's own time, as a
    player shows it.

    Args:
        tolerance: the rounding error up to which two distances count as the same.
        second: how long a second is in the unit of the times.
    """
    after = np.clip(np.searchsorted(sorted_times, wanted), 1, max(len(sorted_times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(sorted_times) - 1)
    to_before, to_after = wanted - sorted_times[before], sorted_times[after] - wanted
    pause = sorted_times[after] - sorted_times[before] > MAX_NEAREST_GAP * second + tolerance
    later = np.where(pause, to_after <= _ROUNDED * second, to_after < to_before - tolerance)
    chosen = np.where(later, after, before)
    # Of frames at the same time the last one stays.
    return np.searchsorted(sorted_times, sorted_times[chosen], "right") - 1


def longest_pause(times: NDArray[np.float64]) -> tuple[float, float] | None:
    """Start and end (seconds) of the longest time without a new frame; None where it is below 5 s or usual.

    Args:
        times: (N,) of all frames, rising. A time-lapse of a frame an hour has no pause.
    """
    gaps = np.diff(times)
    if not len(gaps) or gaps.max() <= max(_PAUSE, 10 * float(np.median(gaps))):
        return None
    before = int(np.argmax(gaps))
    return float(times[before]), float(times[before + 1])


def average_rate(stated: Fraction, num_frames: int, last: float) -> Fraction:
    """Frames per second of a video whose last frame is shown at second ``last``: as stated, where the frames agree.

    Headers guess, and are missing.
    """
    if num_frames < 2 or last <= 0:
        return stated
    measured = (num_frames - 1) / last
    return stated if abs(float(stated) / measured - 1) <= 0.01 else simple_rate(measured)


def simple_rate(rate: float) -> Fraction:
    """A measured rate as a fraction of small numbers (30000/1001), also below one frame a second (1/3600)."""
    if rate >= 1:
        return Fraction(rate).limit_denominator(1001)
    return 1 / Fraction(1 / rate).limit_denominator(1001)


def reach(gap: float) -> float:
    """Seconds after a frame up to which it is chosen, not the next one, which comes ``gap`` seconds after it."""
    return gap - _ROUNDED if gap > MAX_NEAREST_GAP else gap / 2
