"""The videos of a folder, a list or a data set, and where each one's motion maps go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.catalog import DatasetCatalog
from ..data.datasets.videos import VIDEO_EXTENSIONS
from ..utils.errors import UserError
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
            target = str(Path(out) / os.path.relpath(video, root)) + MAP_SUFFIX
            source = Source(video, video_fps, target)
            if by_target.setdefault(target, source).video != video:
                raise UserError(
                    f"{by_target[target].video} and {video} would both become {target}; give them another --out each"
                )
    return [by_target[target] for target in sorted(by_target)]


def _videos_of(given: str, fps: float | None) -> tuple[dict[str, float | None], str]:
    """Absolute paths of the videos with their frame rate, and the folder to which their names are relative."""
    path = Path(given).expanduser()
    if path.is_dir():
        found = dict.fromkeys(_search(path, frames=fps is not None), fps)
        # A folder of frames given by itself keeps its name.
        return found, os.path.abspath(path.parent if os.path.abspath(path) in found else path)
    if path.suffix.lower() in VIDEO_EXTENSIONS or path.suffix.lower() == ".txt":
        if not path.is_file():
            raise UserError(f"{given} does not exist")
        listed: Iterable[str] = [str(path)]
        if path.suffix.lower() == ".txt":
            lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
            listed = (str(path.parent / line) for line in lines if line and not line.startswith("#"))
        videos = {os.path.abspath(video): fps for video in listed}
    else:
        records = DatasetCatalog.get(given).records()
        videos = {os.path.abspath(record.video): getattr(record, "fps", fps) for record in records}
    return videos, os.path.commonpath([os.path.dirname(video) for video in videos]) if videos else ""


def _search(folder: Path, frames: bool) -> Iterator[str]:
    """Absolute paths of the video files under a folder and, if ``frames``, of folders with images."""
    for parent, _, names in os.walk(folder):
        parent = os.path.abspath(parent)
        kinds = {name: os.path.splitext(name)[1].lower() for name in names if not name.startswith(".")}
        yield from (os.path.join(parent, name) for name, kind in kinds.items() if kind in VIDEO_EXTENSIONS)
        if frames and any(kind in _IMAGES for kind in kinds.values()):
            yield parent
