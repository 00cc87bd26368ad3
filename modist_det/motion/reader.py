"""Compute the motion maps of sampled frames on demand.

In a video with frame rate r, frame k is shown at ``k / r`` seconds. Motion map k compares it with the frame
``gap_seconds`` earlier, rounded to whole frames, but not before frame 0. With the default of 5/30 s and 30 frames per
second this is frame k - 5; frames 1 to 4 are compared with frame 0, and map 0 has no motion. If the frame rate varies,
frame k is the one shown at ``k / r``, where r is the average rate.

Example::

    motion = MotionReader("edges", build_flow_estimator("DIS"), short_side=128)
    with open_video("clip.mp4") as video:
        maps = motion.maps(video, 3.0 + np.arange(16) * 4 / 30)  # uint8 (16, 1, 128, W)
        # RGB and motion of one window, decoded together:
        frames, maps = motion.frames_and_maps(video, 3.0 + np.arange(8) * 8 / 30, 3.0 + np.arange(16) * 4 / 30)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..utils.errors import UserError
from ..video.frame_cache import CachedFrames
from ..video.frame_times import as_seconds, nearest_frames
from ..video.info import output_size
from ..video.reader import FrameFolder, VideoError, VideoReader
from .estimators import FlowEstimator, Frames
from .maps import frame_difference, motion_kind

__all__ = ["DEFAULT_GAP", "FrameGrid", "MotionReader", "MotionSource", "read_frames", "resize_maps"]

DEFAULT_GAP = 5 / 30  # seconds: five frames at 30 frames per second, as in Kinetics

Video = VideoReader | FrameFolder | CachedFrames

# Flow and maps are computed for this many frames at once, which fit into the CPU cache.
_BATCH = 16


class MotionSource(Protocol):
    """A source of motion maps: computed on demand (:class:`MotionReader`) or read from files (``CachedMotion``)."""

    kind: str
    channels: int

    def maps(self, video: Video, seconds: ArrayLike, size: tuple[int, int] | None = None) -> Tensor:
        """Motion maps of the frames nearest to ``seconds``, uint8 (T, C, H, W).

        Args:
            seconds: (T,) since the first frame, in any order, with repeats; clamped to the video.
            size: (H, W) of the result (default: the working resolution).

        Raises:
            VideoError: the video cannot be read, or flow cannot be estimated for it.
            UserError: cached maps are missing, damaged or belong to another video.
        """
        ...

    def frames_and_maps(
        self, video: Video, frame_seconds: ArrayLike, motion_seconds: ArrayLike
    ) -> tuple[Frames, Tensor]:
        """RGB frames at ``frame_seconds`` (T,) and motion maps at ``motion_seconds`` (T',), decoded together.

        Returns:
            Frames uint8 (T, H, W, 3), and maps uint8 (T', C, H, W) of the same size, so that one crop fits both.
        """
        ...


class FrameGrid(NamedTuple):
    """The frames of a video as points in time, ``1 / rate`` seconds apart."""

    rate: Fraction
    num_frames: int

    def numbers(self, seconds: ArrayLike) -> NDArray[np.int64]:
        """The frames nearest to ``seconds`` (T,); halves are rounded down."""
        return np.minimum(nearest_frames(as_seconds(seconds), self.rate), self.num_frames - 1)

    def seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return numbers / float(self.rate)

    def earlier(self, numbers: NDArray[np.int64], gap_seconds: float) -> NDArray[np.int64]:
        """The frames ``gap_seconds`` earlier, rounded to whole frames (at least one), but not before frame 0."""
        return np.maximum(numbers - self.gap(gap_seconds), 0)

    def gap(self, gap_seconds: float) -> int:
        """Whole frames, at least one, that are nearest to ``gap_seconds``."""
        longest = self.num_frames / float(self.rate)
        return max(int(nearest_frames(np.array([min(gap_seconds, longest)]), self.rate)[0]), 1)


class MotionReader:
    """Computes motion maps from the video on demand.

    Args:
        kind: a name in ``MOTION_KINDS``.
        estimator: flow estimator; None for the kind "difference".
        gap_seconds: time between the compared frames.
        short_side: working resolution: flow is estimated between frames with this short side in pixels (default: the
            decoded size). Its values are scaled to pixels of the stored video, so that maps are comparable between
            resolutions; edges are computed at the working resolution.
        max_frame_side: frames of larger videos are decoded with this short side, for RGB and flow.
        reference_side: give flow in pixels of a frame with this short side, and for exactly ``gap_seconds``. Maps then
            depend neither on a video's resolution nor on its frame rate. 0: pixels of the stored video, and for the
            whole number of frames that are compared, as the authors of arXiv 2106.09703 do.
        limit: motion from which on maps have their largest value, in the unit of the kind: pixels per pixel (edges),
            pixels, or grey levels (difference). 0: that of ``MOTION_KINDS``.

    Raises:
        UserError: there is no such kind, or a number is too small.
    """

    def __init__(
        self,
        kind: str = "edges",
        estimator: FlowEstimator | None = None,
        *,
        gap_seconds: float = DEFAULT_GAP,
        short_side: int | None = None,
        max_frame_side: int = 320,
        reference_side: int = 0,
        limit: float = 0.0,
    ) -> None:
        self.kind = kind
        motion = motion_kind(kind)
        self.channels, self._from_flow = motion.channels, motion.from_flow
        if self._from_flow is not None and estimator is None:
            raise ValueError(f"the motion input {kind!r} needs a flow estimator")
        numbers = {"gap": gap_seconds, "short_side": short_side, "max_frame_side": max_frame_side}
        for name, value in numbers.items():
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"motion: {name} is {value}, but must be above 0 and finite")
        for name, value in {"reference_side": reference_side, "limit": limit}.items():
            if not 0 <= value < math.inf:
                raise UserError(f"motion: {name} is {value}, but must be 0 or above, and finite")
        self.estimator = estimator
        self.gap_seconds = gap_seconds
        self.short_side = short_side
        self.max_frame_side = max_frame_side
        self.reference_side = reference_side
        self.limit = limit or motion.limit

    def maps(self, video: Video, seconds: ArrayLike, size: tuple[int, int] | None = None) -> Tensor:
        """See :meth:`MotionSource.maps`."""
        grid = FrameGrid(video.info.rate, video.info.num_frames)
        _, maps = self._read(video, grid, np.empty(0, np.int64), grid.numbers(seconds))
        return maps if size is None else resize_maps(maps, size)

    def frames_and_maps(
        self, video: Video, frame_seconds: ArrayLike, motion_seconds: ArrayLike
    ) -> tuple[Frames, Tensor]:
        """See :meth:`MotionSource.frames_and_maps`."""
        grid = FrameGrid(video.info.rate, video.info.num_frames)
        frames, maps = self._read(video, grid, grid.numbers(frame_seconds), grid.numbers(motion_seconds))
        return frames, resize_maps(maps, frames.shape[1:3])

    def map_size(self, video: Video) -> tuple[int, int]:
        """(height, width) of a video's maps at the working resolution."""
        return self._working_size(*self._frame_size(video))

    def all_maps(self, video: Video, max_bytes: int = 2**27) -> Iterator[Tensor]:
        """The maps of all frames in order, in parts uint8 (T, C, H, W) whose RGB frames fit into ``max_bytes``."""
        grid = FrameGrid(video.info.rate, video.info.num_frames)
        height, width = self._frame_size(video)
        count = max(max_bytes // (3 * height * width), _BATCH)
        for first in range(0, grid.num_frames, count):
            numbers = np.arange(first, min(first + count, grid.num_frames))
            yield self._read(video, grid, np.empty(0, np.int64), numbers)[1]

    def frames_and_flow(self, video: Video, seconds: ArrayLike) -> tuple[Frames, Tensor]:
        """For visualization: RGB frames uint8 (T, H, W, 3) and flow float32 (T, 2, h, w) at the working resolution."""
        grid = FrameGrid(video.info.rate, video.info.num_frames)
        numbers = grid.numbers(seconds)
        frames, here, before = self._decode(video, grid, numbers, grid.earlier(numbers, self.gap_seconds))
        return frames[here], self._flow(self._to_working_size(frames), here, before, video)

    def _read(
        self, video: Video, grid: FrameGrid, shown: NDArray[np.int64], moving: NDArray[np.int64]
    ) -> tuple[Frames, Tensor]:
        """The frames ``shown``, and the maps (at the working resolution) of the frames ``moving``."""
        distinct, rows = np.unique(moving, return_inverse=True)
        earlier = grid.earlier(distinct, self.gap_seconds)
        frames, shown, here, before = self._decode(video, grid, shown, distinct, earlier)
        scaled = self._to_working_size(frames)
        maps = torch.empty(len(distinct), self.channels, *scaled.shape[1:3], dtype=torch.uint8)
        for first in range(0, len(distinct), _BATCH):
            batch = slice(first, first + _BATCH)
            maps[batch] = self._compare(scaled, here[batch], before[batch], video)
        return frames[shown], maps[torch.from_numpy(rows)]

    def _decode(self, video: Video, grid: FrameGrid, *wanted: NDArray[np.int64]) -> tuple[NDArray, ...]:
        """The wanted frames, each once, and for each array of frame numbers the rows of its frames."""
        distinct = np.unique(np.concatenate(wanted))
        frames = read_frames(video, grid.seconds(distinct), self.max_frame_side)
        return frames, *(np.searchsorted(distinct, numbers) for numbers in wanted)

    def _compare(
        self, frames: Frames, here: NDArray[np.intp], before: NDArray[np.intp], video: Video
    ) -> Tensor:
        """Maps (N, C, H, W) of the frames in rows ``here``, compared with those in rows ``before``."""
        if self._from_flow is None:
            pair = _channels_first(frames[here]), _channels_first(frames[before])
            return frame_difference(*pair, self.limit)
        return self._from_flow(self._flow(frames, here, before, video), self.limit)

    def _flow(self, frames: Frames, here: NDArray[np.intp], before: NDArray[np.intp], video: Video) -> Tensor:
        """Flow (N, 2, H, W) in pixels of the stored video, or as ``reference_side`` says."""
        assert self.estimator is not None
        try:
            flow = self.estimator(frames[here], frames[before])
        except UserError as error:  # too small: handled like a video that cannot be decoded
            raise VideoError(video.path, str(error)) from error
        flow[np.flatnonzero(here == before)] = 0.0  # networks find some motion even between equal frames
        scale = self._scale(video)
        flow[:, 0] *= video.info.width / frames.shape[2] * scale
        flow[:, 1] *= video.info.height / frames.shape[1] * scale
        return flow

    def _scale(self, video: Video) -> float:
        """From motion in pixels of the stored video and whole frames to that of ``reference_side``."""
        if not self.reference_side:
            return 1.0
        info = video.info
        seconds = FrameGrid(info.rate, info.num_frames).gap(self.gap_seconds) / float(info.rate)
        return self.reference_side / min(info.height, info.width) * self.gap_seconds / seconds

    def _to_working_size(self, frames: Frames) -> Frames:
        height, width = self._working_size(*frames.shape[1:3])
        if (height, width) == frames.shape[1:3]:
            return frames
        scaled = np.empty((len(frames), height, width, 3), np.uint8)
        for source, target in zip(frames, scaled, strict=True):
            cv2.resize(source, (width, height), target, interpolation=cv2.INTER_AREA)
        return scaled

    def _frame_size(self, video: Video) -> tuple[int, int]:
        height, width = video.info.height, video.info.width
        return output_size(height, width, None, _frame_side(video, self.max_frame_side))

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        if self.short_side is None or self.short_side >= min(height, width):
            return height, width
        return output_size(height, width, None, self.short_side)


def read_frames(video: Video, seconds: NDArray[np.float64], max_side: int) -> Frames:
    """RGB frames (T, H, W, 3), scaled down to a short side of ``max_side`` if they are larger."""
    return video.frames_at_times(seconds, short_side=_frame_side(video, max_side))


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps uint8 (T, C, h, w) resized to ``size`` (H, W): by averaging when shrinking, otherwise bilinear."""
    height, width = size
    if (height, width) == maps.shape[-2:]:
        return maps
    shrinks = height <= maps.shape[-2] and width <= maps.shape[-1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    out = np.empty((*maps.shape[:2], height, width), np.uint8)
    planes = maps.contiguous().numpy().reshape(-1, *maps.shape[-2:])
    for source, target in zip(planes, out.reshape(-1, height, width), strict=True):
        cv2.resize(source, (width, height), target, interpolation=method)
    return torch.from_numpy(out)


def _frame_side(video: Video, max_side: int) -> int | None:
    return max_side if min(video.info.height, video.info.width) > max_side else None


def _channels_first(frames: Frames) -> Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2)
