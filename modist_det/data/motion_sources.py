"""Find the videos in a folder, list or dataset, and the file that is to be made of each: motion maps, a new video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..motion.cached import MAP_SUFFIX, place_of
from ..utils.errors import UserError
from ..utils.text_files import expand_user, read_text
from ..video.listing import (
    IMAGE_EXTENSIONS,
    VIDEO_EXTENSIONS,
    Source,
    extension,
    is_unknown,
    walk,
    warn_of_unknown,
)
from ..video.packed import is_folder
from .catalog import DatasetCatalog

__all__ = ["Source", "find_sources"]


def map_file(place: Path) -> Path:
    """Where the motion maps of the video at ``place`` go."""
    return place.with_name(place.name + MAP_SUFFIX)


def find_sources(
    inputs: Sequence[str],
    out: str | os.PathLike | None,
    fps: float | None = None,
    target_of: Callable[[Path], Path] = map_file,
) -> list[Source]:
    """The videos in ``inputs``, each once, sorted by target.

    Args:
        inputs: folders (searched recursively), video files, text files with a path per line (relative to the file),
            dataset names or description files (``*.yaml``).
        out: folder of the targets. They keep the video's path relative to the searched folder, the dataset's, or the
            common one of a list, and are always inside ``out``. None: beside the videos.
        fps: frame rate of folders of frames; without it, only video files are searched.
        target_of: gives the target's path from that of the video.

    Raises:
        UserError: an input does not exist or has no videos, or two videos have the same target.
    """
    by_target: dict[str, Source] = {}
    for given in inputs:
        videos, folders = _videos_of(given, fps)
        if not videos:
            raise UserError(f"no videos in {given}{'' if fps else ' (folders of frames need --fps)'}")
        for place, (video, video_fps) in videos.items():
            root = next(folder for folder in folders if folder in place.parents)
            made = target_of(place)
            target = str(made if out is None else Path(out) / made.relative_to(root))
            source = Source(video, video_fps, target)
            if by_target.setdefault(target, source).video != source.video:
                other = by_target[target].video
                raise UserError(
                    f"{other} and {video} have the same target {target}; use a different --out for each"
                )
    return [by_target[target] for target in sorted(by_target)]


_Videos = dict[Path, tuple[str, float | None]]  # place -> video to open, frame rate


def _videos_of(given: str, fps: float | None) -> tuple[_Videos, list[Path]]:
    """The videos, and the folders to which their places are relative: the first that holds one."""
    path = expand_user(given).absolute()
    if is_folder(path):
        found = _by_place(_search(path, frames=fps is not None), fps)
        return found, [path.parent if path in found else path]  # a folder of frames keeps its name
    folders: list[Path] = []
    if path.suffix.lower() in VIDEO_EXTENSIONS or path.suffix.lower() == ".txt":
        if not path.is_file():
            raise UserError(f"{given} does not exist")
        found = _by_place([str(path)] if path.suffix.lower() != ".txt" else _listed(path), fps)
    else:
        if path.suffix.lower() not in (".yaml", ".yml") and given not in DatasetCatalog.list():
            raise UserError(f"{given} is not a folder, video, list (*.txt) or dataset (name or *.yaml)")
        records = DatasetCatalog.videos(given)
        found = {place_of(record.video): (record.video, record.fps) for record in records}
        folders += map(place_of, getattr(DatasetCatalog.get(given), "videos", []))
    if found:
        folders.append(Path(os.path.commonpath([video.parent for video in found])))
    return found, folders


def _by_place(videos: Iterable[str], fps: float | None) -> _Videos:
    return {place_of(video): (video, fps) for video in videos}


def _listed(path: Path) -> list[str]:
    lines = [line.strip() for line in read_text(path, f"list of videos {path}").splitlines()]
    return [str(path.parent / line) for line in lines if line and not line.startswith("#")]


def _search(folder: Path, frames: bool) -> list[str]:
    """The video files below a folder and, if ``frames``, the folders with images."""
    found, unknown = dict[str, None](), []
    for entry, _ in walk(folder):
        if extension(entry.name) in VIDEO_EXTENSIONS:
            found[entry.path] = None
        elif frames and extension(entry.name) in IMAGE_EXTENSIONS:
            found[str(Path(entry.path).parent)] = None
        elif is_unknown(entry.name):
            unknown.append(entry.path)
    warn_of_unknown(str(folder), unknown)
    return list(found)
