"""Common to all kinds of videos: facts and output sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import frame_times
from .errors import VideoError
from .frame_times import *  # noqa: F403  (data.video_info had these names, too)
from .scaling import FrameScaler

__all__ = [*frame_times.__all__, "FrameScaler", "Timing", "VideoError", "VideoInfo", "output_size"]

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
    path: str | os.PathLike[str] = "(frames)",
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
