"""Read motion maps from the files of ``tools/extract_motion.py``."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from ..utils.errors import UserError
from ..video.reader import describe_source
from .estimators import Frames
from .map_file import MapFile, MapFileError
from .maps import motion_kind
from .reader import DEFAULT_GAP, FrameGrid, Video, read_frames, resize_maps

__all__ = ["MAP_SUFFIX", "CachedMotion", "describe_source", "find_map_file", "place_of"]

MAP_SUFFIX = ".motion"


class CachedMotion:
    """The interface of ``MotionReader`` with maps from files: the same maps, up to JPEG loss.

    The flow estimator and working resolution are those of the extraction and are stored in the files.

    Args:
        folder: output folder of ``tools/extract_motion.py --out``.
        kind: expected kind of maps.
        gap_seconds: expected gap.
        reference_side, limit: expected unit of flow and largest motion; see ``MotionReader``.
        max_frame_side: RGB frames of larger videos are decoded with this short side.

    Raises:
        UserError: there is no such folder or kind. The methods raise ``MapFileError`` if a video's maps are missing,
            damaged or of another kind, gap or unit, or if the video has changed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        kind: str = "edges",
        *,
        gap_seconds: float = DEFAULT_GAP,
        max_frame_side: int = 320,
        reference_side: int = 0,
        limit: float = 0.0,
    ) -> None:
        self.folder = Path(folder)
        self.kind = kind
        self.channels = motion_kind(kind).channels
        self.limit = limit or motion_kind(kind).limit
        self.gap_seconds = gap_seconds
        self.max_frame_side = max_frame_side
        self.reference_side = reference_side
        if not self.folder.is_dir():
            raise UserError(
                f"there is no folder of motion maps {folder}; make it with tools/extract_motion.py"
            )

    def maps(self, video: Video, seconds: ArrayLike, size: tuple[int, int] | None = None) -> Tensor:
        """See ``MotionSource.maps``."""
        with self._open(video) as file:
            maps = file.read(_grid(file).numbers(seconds))
        return maps if size is None else resize_maps(maps, size)

    def frames_and_maps(
        self, video: Video, frame_seconds: ArrayLike, motion_seconds: ArrayLike
    ) -> tuple[Frames, Tensor]:
        """See ``MotionSource.frames_and_maps``."""
        with self._open(video) as file:
            grid = _grid(file)
            maps = file.read(grid.numbers(motion_seconds))
        frames = read_frames(video, grid.seconds(grid.numbers(frame_seconds)), self.max_frame_side)
        return frames, resize_maps(maps, frames.shape[1:3])

    def _open(self, video: Video) -> MapFile:
        """The video's map file, after checking that it has the expected maps."""
        file = MapFile(find_map_file(self.folder, video.path))
        try:
            self._check(file, video)
        except BaseException:
            file.close()
            raise
        return file

    def _check(self, file: MapFile, video: Video) -> None:
        info = file.info
        if info.kind != self.kind:
            raise MapFileError(file.path, f"their kind is {info.kind!r}, not {self.kind!r}")
        if not math.isclose(info.gap_seconds, self.gap_seconds, rel_tol=1e-3):
            reason = f"their gap between frames is {info.gap_seconds:.4g} s, not {self.gap_seconds:.4g} s"
            raise MapFileError(file.path, reason)
        if info.reference_side != self.reference_side:
            theirs, ours = (
                f"frames of {side} pixels" if side else "the video"
                for side in (info.reference_side, self.reference_side)
            )
            reason = f"their flow is in pixels of {theirs}, not of {ours} (MOTION.REFERENCE_SIDE)"
            raise MapFileError(file.path, reason)
        if info.limit != self.limit:
            reason = (
                f"their largest value is a motion of {info.limit:g}, not of {self.limit:g} (MOTION.LIMIT)"
            )
            raise MapFileError(file.path, reason)
        source = describe_source(video)
        if info.source != source:
            raise MapFileError(file.path, f"they were made from {info.source}, but {video.path} is {source}")


def find_map_file(folder: Path, video: str | os.PathLike) -> Path:
    """The file with a video's motion maps.

    For a video ``a/b/clip.mp4`` (a file or a folder of frames), this looks for ``a/b/clip.mp4.motion``,
    ``b/clip.mp4.motion`` and ``clip.mp4.motion``, so that both videos and maps can be moved.

    Raises:
        MapFileError: there is none; it names the last path.
    """
    *parents, name = place_of(video).parts[1:]
    for first in range(len(parents) + 1):
        path = folder.joinpath(*parents[first:], name + MAP_SUFFIX)
        if path.is_file():
            return path
    raise MapFileError(path, f"there are none for {video}")


def place_of(video: str | os.PathLike) -> Path:
    """The absolute path of a video without ``..``, so that it stays inside a folder when appended to it."""
    path = Path(video).absolute()
    if ".." not in path.parts:
        return path
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def _grid(file: MapFile) -> FrameGrid:
    return FrameGrid(Fraction(file.info.rate), file.info.num_frames)
