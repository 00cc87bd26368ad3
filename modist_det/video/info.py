"""Common to all kinds of videos: facts, frames nearest to given times, output sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import VideoError
from .scaling import FrameScaler

__all__ = [
    "MAX_NEAREST_GAP",
    "FrameScaler",
    "Timing",
    "VideoError",
    "VideoInfo",
    "as_indices",
    "as_seconds",
    "average_rate",
    "longest_pause",
    "nearest",
    "nearest_frames",
    "output_size",
    "reach",
    "simple_rate",
]

# Between frames closer than this (seconds), a time belongs to the nearer one. In longer gaps (screen recordings,
# time-lapses) it belongs to the frame before, which was still visible.
MAX_NEAREST_GAP = 1.0
_PAUSE = 5.0  # seconds without a new frame that a check reports
_ROUNDED = 1e-3  # seconds by which times that people write down are rounded
# Limits of scaled frames: far above real videos, but not above a tiny file with 4096 x 2 pixels.
_MAX_SIDE = 16384  # pixels
_MAX_CLIP = 8 << 30  # bytes


@dataclass(frozen=True)
class Timing:
    """How many frames there are, frames per second on average, seconds from the first to the end of the last.

    ``times``: seconds (N,) at which they are shown; None: frame ``i`` at ``i / rate``.
    """

    num_frames: int
    rate: Fraction
    duration: float
    times: NDArray[np.float64] | None = None


class VideoInfo:
    """Facts about a video.

    Size, codec and rotation are known when a video is open. The number of frames, the rate and the
    duration describe the actual frames, not the file's header; the first use of one of the three reads
    through the file, without decoding if possible.

    Attributes:
        width, height: pixels of a frame as shown, that is after ``rotation``. Pixels that are not
            square (a sample aspect ratio) stay as they are stored.
        codec: FFmpeg's name, such as ``"h264"``; ``"images"`` for a folder of frames.
        rotation: degrees clockwise by which stored frames are turned: 0, 90, 180 or 270. The frames
            that a reader returns are turned already.
    """

    def __init__(
        self, width: int, height: int, codec: str, rotation: int, measure: Callable[[], Timing]
    ) -> None:
        self.width = width
        self.height = height
        self.codec = codec
        self.rotation = rotation
        self._measure = measure

    @cached_property
    def _timing(self) -> Timing:
        return self._measure()

    @property
    def num_frames(self) -> int:
        """Frames that the video shows."""
        return self._timing.num_frames

    @property
    def rate(self) -> Fraction:
        """Frames per second on average."""
        return self._timing.rate

    @property
    def fps(self) -> float:
        """``rate`` as a float."""
        return float(self._timing.rate)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        return self._timing.duration

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds (N,) at which the frames are shown, from 0."""
        times = self._timing.times
        return np.arange(self.num_frames) / float(self.rate) if times is None else times

    def __repr__(self) -> str:
        known = [f"{self.width}x{self.height}", self.codec, f"rotation {self.rotation}"]
        if "_timing" in vars(self):  # printing must not read the file
            known += [f"{self.num_frames} frames", f"{self.fps:.5g} fps", f"{self.duration:.3f} s"]
        return f"VideoInfo({', '.join(known)})"


def output_size(
    height: int,
    width: int,
    size: tuple[int, int] | None,
    short_side: int | None,
    path: str | os.PathLike = "(frames)",
    count: int = 1,
) -> tuple[int, int]:
    """(height, width) of scaled frames: ``size`` as given, or scaled to the short side with the same aspect ratio.

    The long side is ``floor(long * short_side / short)``, as in PySlowFast's short-side scaling.
    Without either the size is unchanged.

    Args:
        path, count: path of the video and number of frames, for errors.

    Raises:
        VideoError: a scaled frame would be longer than 16,384 pixels, or all of them larger than 8 GiB.
    """
    if size is not None and short_side is not None:
        raise ValueError("give size or short_side, not both")
    if size is not None:
        new_height, new_width = size
    elif short_side is None:
        return height, width
    elif height <= width:
        new_height, new_width = short_side, width * short_side // height
    else:
        new_height, new_width = height * short_side // width, short_side
    if new_height < 1 or new_width < 1:
        raise ValueError(f"frames of {new_height} x {new_width} pixels (height x width) are not possible")
    if max(new_height, new_width) > _MAX_SIDE or 3 * new_height * new_width * count > _MAX_CLIP:
        raise VideoError(
            path,
            f"its {width} x {height} pixels would become {new_width} x {new_height} ({count} frames); scaled frames "
            f"have at most {_MAX_SIDE} pixels a side and {_MAX_CLIP >> 30} GiB together",
        )
    return int(new_height), int(new_width)


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
    sorted_times: NDArray, wanted: NDArray[np.float64], tolerance: float, second: float = 1.0
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
