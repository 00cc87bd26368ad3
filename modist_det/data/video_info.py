"""What every kind of video shares: facts about it, errors, the size of its frames, scaling."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import ArrayLike, NDArray

from ..utils.errors import UserError

__all__ = [
    "FrameScaler",
    "Timing",
    "VideoError",
    "VideoInfo",
    "as_indices",
    "as_seconds",
    "nearest",
    "nearest_frames",
    "output_size",
]

# Before PyAV 17 swscale always ran on one thread and the argument did not exist. Its own default, a
# thread per CPU, makes the workers of a loader fight each other.
_ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


class VideoError(UserError):
    """A video that cannot be read, or not where it was asked for.

    The message is one line: the path and the reason.
    """

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"cannot read video {self.path}: {reason}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses from a worker process


@dataclass(frozen=True)
class Timing:
    """How many frames there are, frames per second on average, seconds from the first to the end of the last."""

    num_frames: int
    rate: Fraction
    duration: float


class VideoInfo:
    """Facts about a video.

    Size, codec and rotation are known when a video is open. The number of frames, the rate and the
    duration are those of the frames that are really there, not what the file's header claims; the
    first use of one of the three reads through the file to count, without decoding it where possible.

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

    def __repr__(self) -> str:
        known = [f"{self.width}x{self.height}", self.codec, f"rotation {self.rotation}"]
        if "_timing" in vars(self):  # printing must not read the file
            known += [f"{self.num_frames} frames", f"{self.fps:.5g} fps", f"{self.duration:.3f} s"]
        return f"VideoInfo({', '.join(known)})"


def output_size(
    height: int, width: int, size: tuple[int, int] | None, short_side: int | None
) -> tuple[int, int]:
    """(height, width) of scaled frames: ``size`` as given, or the short side set and the shape kept.

    The long side is ``floor(long * short_side / short)``, as in PySlowFast's short-side scaling.
    Without either the size is unchanged.
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
    """Numbers of the frames nearest to ``seconds`` where frame ``i`` stands at ``i / rate``; halves round down."""
    return np.ceil(seconds * float(rate) - 0.5 - 1e-6).astype(np.int64)


def nearest(sorted_times: NDArray, wanted: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """For each wanted time the index of the nearest of ``sorted_times``; the earlier one of two as near.

    ``tolerance`` is the rounding error up to which two distances count as the same.
    """
    after = np.clip(np.searchsorted(sorted_times, wanted), 1, max(len(sorted_times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(sorted_times) - 1)
    to_before, to_after = wanted - sorted_times[before], sorted_times[after] - wanted
    return np.where(to_after < to_before - tolerance, after, before)


class FrameScaler:
    """Colour conversion and scaling of decoded pictures in one step of FFmpeg's swscale, bilinear.

    When it scales down, swscale's bilinear filter covers all source pixels (it does not alias). At the
    native size the result equals ``frame.to_ndarray(format="rgb24")``. The matrix and the range
    (limited or full) are those with which the frame is tagged; untagged frames are taken as BT.601,
    limited range. Interlaced frames are left as stored.
    """

    def __init__(self) -> None:
        # One for all frames: building the filters takes longer than running them.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, height: int, width: int) -> NDArray[np.uint8]:
        """RGB (height, width, 3). A view of memory that lives as long as the array does."""
        rgb = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, **_ONE_THREAD
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)[
            :height, : 3 * width
        ]
        return rows.reshape(height, width, 3)
