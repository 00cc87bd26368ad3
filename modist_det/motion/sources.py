"""The videos of a folder, a list or a data set, and where each one's motion maps go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.catalog import DatasetCatalog
from ..data.datasets.videos import VIDEO_EXTENSIONS
from ..utils.errors import UserError
from ..utils.text_files import expand_user, read_text
from .cached import MAP_SUFFIX

__all__ = ["Source", "find_sources"]

_IMAGES = (".jpg", ".jpeg", ".png")


class Source(NamedTuple):
    """A video (file or folder of frames with its ``fps``), and the file that its maps go to."""

    video: str
    fps: float | None
    target: str


def find_sources(inputs: Sequence[str], out: str | os.PathLike, fps: float | None = None) -> list[Source]:
    """The videos that ``inputs`` name, each once, in order of their targets.

    Args:
        inputs: folders (searched with all that is in them), video files, text files with a path on each line
            (relative to that file), names of data sets or their description files (``*.yaml``).
        out: folder of the maps. A video keeps there its path relative to the folder that was searched, or to the
            folder that all videos of a list or data set are in.
        fps: of folders of frames; without it only files are looked for in folders.

    Raises:
        UserError: an input does not exist or has no videos, or two videos would have the same target.
    """
    by_target: dict[str, Source] = {}
    for given in inputs:
        videos, root = _videos_of(given, fps)
        if not videos:
            raise UserError(f"no videos in {given}{'' if fps else ' (folders of frames need --fps)'}")
        for video, video_fps in videos.items():
            target = str(Path(out) / video.relative_to(root)) + MAP_SUFFIX
            source = Source(str(video), video_fps, target)
            if by_target.setdefault(target, source).video != source.video:
                other = by_target[target].video
                raise UserError(f"{other} and {video} would both become {target}; give each another --out")
    return [by_target[target] for target in sorted(by_target)]


def _videos_of(given: str, fps: float | None) -> tuple[dict[Path, float | None], Path]:
    """Videos with their frame rate, and the folder to which their names are relative."""
    path = expand_user(given).absolute()
    if path.is_dir():
        found: dict[Path, float | None] = dict.fromkeys(_search(path, frames=fps is not None), fps)
        return found, path.parent if path in found else path  # a folder of frames keeps its name
    if path.suffix.lower() in VIDEO_EXTENSIONS or path.suffix.lower() == ".txt":
        if not path.is_file():
            raise UserError(f"{given} does not exist")
        found = dict.fromkeys([path] if path.suffix.lower() != ".txt" else _listed(path), fps)
    else:
        if path.suffix.lower() not in (".yaml", ".yml") and given not in DatasetCatalog.list():
            raise UserError(
                f"{given} is no folder, no video or list (*.txt) and no data set (name or *.yaml)"
            )
        found = {Path(record.video).absolute(): record.fps for record in DatasetCatalog.videos(given)}
    return found, Path(os.path.commonpath([video.parent for video in found])) if found else path


def _listed(path: Path) -> list[Path]:
    lines = [line.strip() for line in read_text(path, f"list of videos {path}").splitlines()]
    return [path.parent / line for line in lines if line and not line.startswith("#")]


def _search(folder: Path, frames: bool) -> Iterator[Path]:
    """The video files under a folder and, if ``frames``, the folders with images."""
    for parent, _, names in os.walk(folder):
        files = [Path(parent, name) for name in names if not name.startswith(".")]
        yield from (file for file in files if file.suffix.lower() in VIDEO_EXTENSIONS)
        if frames and any(file.suffix.lower() in _IMAGES for file in files):
            yield Path(parent)
