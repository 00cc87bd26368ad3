"""Motion maps read from files that ``tools/extract_motion.py`` made before."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from ..utils.errors import UserError
from .estimators import Frames
from .map_file import MapFile, MapFileError
from .maps import motion_kind
from .reader import DEFAULT_GAP, FrameGrid, Video, read_frames, resize_maps

__all__ = ["MAP_SUFFIX", "CachedMotion", "describe_source", "find_map_file", "place_of"]

MAP_SUFFIX = ".motion"


class CachedMotion:
    """The interface of ``MotionReader``, with maps from files: the same maps up to the loss of JPEG.

    Estimator and working resolution are those of the extraction; the files know them.

    Args:
        folder: what ``tools/extract_motion.py --out`` wrote.
        kind: which maps are expected there.
        gap_seconds: with which gap.
        max_frame_side: RGB frames of larger videos are decoded with this short side.

    Raises:
        UserError: there is no such folder or kind. The methods raise ``MapFileError`` where the maps of a video are
            missing, damaged, of another kind or gap, or were made from another video or before it changed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        kind: str = "edges",
        *,
        gap_seconds: float = DEFAULT_GAP,
        max_frame_side: int = 320,
    ) -> None:
        self.folder = Path(folder)
        self.kind = kind
        self.channels = motion_kind(kind).channels
        self.gap_seconds = gap_seconds
        self.max_frame_side = max_frame_side
        if not self.folder.is_dir():
            raise UserError(
                f"the folder of motion maps {folder} does not exist; tools/extract_motion.py makes it"
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
        """The video's maps, checked to be what is expected."""
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
            raise MapFileError(file.path, f"they are of the kind {info.kind!r}, not {self.kind!r}")
        if not math.isclose(info.gap_seconds, self.gap_seconds, rel_tol=1e-3):
            raise MapFileError(
                file.path,
                f"frames {info.gap_seconds:.4g} s apart were compared, not {self.gap_seconds:.4g} s",
            )
        source = describe_source(video)
        if info.source != source:
            raise MapFileError(file.path, f"they were made from {info.source}, but {video.path} is {source}")


def find_map_file(folder: Path, video: str | os.PathLike) -> Path:
    """Where the maps of a video are.

    Those of the file or folder of frames ``a/b/clip.mp4`` are looked up as ``a/b/clip.mp4.motion``, then as
    ``b/clip.mp4.motion`` and as ``clip.mp4.motion``, so both the videos and the maps may be moved.

    Raises:
        MapFileError: nowhere; names the last place.
    """
    *parents, name = place_of(video).parts[1:]
    for first in range(len(parents) + 1):
        path = folder.joinpath(*parents[first:], name + MAP_SUFFIX)
        if path.is_file():
            return path
    raise MapFileError(path, f"there are none of {video}")


def place_of(video: str | os.PathLike) -> Path:
    """The absolute path of a video without ``..``, so that it leads nowhere else below another folder."""
    path = Path(video).absolute()
    if ".." not in path.parts:
        return path
    return path.resolve() if path.name == ".." else path.parent.resolve() / path.name


def describe_source(video: Video) -> str:
    """What changes when a video is replaced by another: its picture size, and its bytes or its number of images."""
    size = f"{video.info.width}x{video.info.height} pixels"
    if video.info.codec == "images":
        return f"a folder of {video.info.num_frames} images of {size} at {video.info.rate} a second"
    return f"a file of {video.path.stat().st_size} bytes with {size}"


def _grid(file: MapFile) -> FrameGrid:
    return FrameGrid(Fraction(file.info.rate), file.info.num_frames)
