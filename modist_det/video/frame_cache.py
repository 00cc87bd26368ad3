"""Cache of decoded frames on disk, for datasets of short clips that are read repeatedly.

Most of the loading time is decoding. A few thousand clips of a few seconds fit into the memory of a laptop when
decoded. A :class:`FrameCache` decodes each video once and then memory-maps its file, so the system's file cache holds
the frames once for all workers and runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core import COUNT, CfgNode, Key, add_section
from ..utils.errors import UserError
from ..utils.files import atomic_path
from .errors import VideoError, reason_of
from .frame_list import ListedFolder
from .frame_times import as_indices, as_seconds, nearest
from .info import Timing, VideoInfo, output_size
from .packed import status
from .reader import FrameFolder, VideoReader, open_video

__all__ = ["CachedFrames", "FrameCache", "OpenVideo", "video_opener"]

add_section(
    "DATALOADER",
    # Folder of decoded frames, so that each video is decoded only once: for datasets of short clips that fit into
    # memory. "": decode each time.
    FRAME_CACHE="",
    FRAME_CACHE_SIDE=Key(256, COUNT),  # short side of the stored frames of larger videos
)

OpenVideo = Callable[..., "VideoReader | FrameFolder | CachedFrames"]

_SUFFIX = ".frames"


@dataclass(frozen=True)
class _Header:
    """First line of a file, JSON; the frames follow, uint8 (num_frames, height, width, 3)."""

    source: list[int]  # of the video file: size in bytes, time of its last change
    num_frames: int
    height: int
    width: int
    video_height: int
    video_width: int
    codec: str
    rotation: int
    rate: list[int]  # numerator, denominator
    duration: float
    times: list[float]  # seconds of each frame


class CachedFrames(AbstractContextManager["CachedFrames"]):
    """One video's decoded frames, by number and by time as :class:`modist_det.video.reader.VideoReader` gives them."""

    def __init__(self, path: Path, header: _Header, frames: NDArray[np.uint8]) -> None:
        self.path = path
        self._frames = frames
        self._times = np.array(header.times, np.float64)
        timing = Timing(header.num_frames, Fraction(*header.rate), header.duration, self._times)
        self.info = VideoInfo(
            header.video_width, header.video_height, header.codec, header.rotation, lambda: timing
        )

    def frames_at_indices(
        self, indices: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """RGB frames uint8 (T, H, W, 3); without a size in the stored resolution."""
        rows = np.minimum(as_indices(indices), len(self._frames) - 1)
        height, width = self._frames.shape[1:3]
        if short_side is not None or size is not None:
            shown = self.info.height, self.info.width
            height, width = output_size(*shown, size, short_side, self.path, len(rows))
        if (height, width) == self._frames.shape[1:3]:
            return self._frames[rows]
        shrinks = height <= self._frames.shape[1] and width <= self._frames.shape[2]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = np.empty((len(rows), height, width, 3), np.uint8)
        for row, target in zip(rows, scaled, strict=True):
            cv2.resize(self._frames[row], (width, height), target, interpolation=method)
        return scaled

    def frames_at_times(
        self, seconds: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """RGB frames uint8 (T, H, W, 3) nearest to each time."""
        return self.frames_at_indices(nearest(self._times, as_seconds(seconds), 1e-9), size, short_side)

    def close(self) -> None:
        """Nothing to do: the mapped file is released with the object."""

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class FrameCache:
    """Opens videos as :func:`modist_det.video.reader.open_video` does, decoding each only the first time.

    A file is rewritten when its video has changed. While it is written, all frames of the video are in memory.

    Args:
        folder: folder of the files, created if missing. They take ``3 * height * width`` bytes per frame.
        max_side: frames of larger videos are stored with this short side (pixels).
    """

    def __init__(self, folder: str | os.PathLike[str], max_side: int = 256) -> None:
        self.folder = Path(folder)
        self.max_side = max_side

    def open(self, path: str | os.PathLike[str], fps: float | Fraction | None = None) -> CachedFrames:
        """The frames of a video file, or of a folder of images shown at ``fps``.

        Raises:
            VideoError: a frame of the video cannot be read.
            UserError: the cache cannot be written.
        """
        given, path = path, Path(path)
        try:
            source = list(status(path))
        except OSError as error:
            raise VideoError(path, reason_of(error)) from error
        key = f"{path.absolute()}\n{self.max_side}\n{fps}"
        if isinstance(given, ListedFolder):
            key += f"\n{given.fingerprint()}"
        target = self.folder / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}{_SUFFIX}"
        cached = _map(target, path, source)
        if cached is None:
            with open_video(given, fps) as video:
                _write(target, video, source, self.max_side)
            cached = _map(target, path, source)
        if cached is None:
            raise UserError(
                f"{target} was written and cannot be read; is its disk full or shared unreliably?"
            )
        return cached


def video_opener(cfg: CfgNode) -> OpenVideo:
    """``open_video``, or ``FrameCache.open`` if DATALOADER.FRAME_CACHE is set."""
    node = cfg.DATALOADER
    return FrameCache(node.FRAME_CACHE, node.FRAME_CACHE_SIDE).open if node.FRAME_CACHE else open_video


def _map(target: Path, path: Path, source: list[int]) -> CachedFrames | None:
    """Map a file of the cache; None if it is missing or belongs to an earlier version of the video."""
    try:
        with target.open("rb") as file:
            header = _Header(**json.loads(file.readline()))
            offset = file.tell()
        if header.source != source:
            return None
        shape = (header.num_frames, header.height, header.width, 3)
        return CachedFrames(path, header, np.memmap(target, np.uint8, "r", offset, shape))
    except (OSError, ValueError, TypeError, ArithmeticError, RecursionError):
        return None


def _write(target: Path, video: VideoReader | FrameFolder, source: list[int], max_side: int) -> None:
    info = video.info
    side = max_side if min(info.height, info.width) > max_side else None
    frames = video.frames_at_indices(np.arange(info.num_frames), short_side=side)
    header = _Header(
        source=source,
        num_frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        video_height=info.height,
        video_width=info.width,
        codec=info.codec,
        rotation=info.rotation,
        rate=[info.rate.numerator, info.rate.denominator],
        duration=info.duration,
        times=info.times.tolist(),
    )
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(asdict(header)).encode() + b"\n")
        file.write(frames.data)
