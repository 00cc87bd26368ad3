"""Finding the video of each annotated id: a file of any common kind, or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...utils.errors import UserError

__all__ = ["VIDEO_EXTENSIONS", "find_videos", "without_extension"]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob",
    ".webm", ".wmv",
])
# fmt: on


def without_extension(file: str) -> str:
    """``a/v.1.avi`` -> ``a/v.1``; a name without the extension of a video stays."""
    stem, dot, extension = file.rpartition(".")
    return stem if f"{dot}{extension}".lower() in VIDEO_EXTENSIONS else file


def find_videos(folders: Sequence[str], video_ids: Iterable[str]) -> dict[str, str]:
    """Path of each video that is there, by id; ids that are nowhere are left out.

    ``id`` is found as ``id.EXT`` or as a folder ``id/`` of frames in one of ``folders``, or as the file ``id``
    where ids carry their extension. An id with slashes is looked up in subfolders.

    Raises:
        UserError: a folder does not exist, or an id stands for two files.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"the folder of videos {folder} does not exist")
    video_ids = list(video_ids)
    found: dict[str, list[str]] = {video_id: [] for video_id in video_ids}
    subfolders = sorted({video_id.rpartition("/")[0] for video_id in video_ids})
    for folder in folders:
        for subfolder in subfolders:
            for name, path in _entries(folder, subfolder):
                if name in found and path not in found[name]:
                    found[name].append(path)
    for video_id, paths in found.items():
        if len(paths) > 1:
            raise UserError(
                f"video {video_id!r} could be {' or '.join(paths)}; remove or rename one, "
                "or name fewer folders of videos"
            )
    return {video_id: paths[0] for video_id, paths in found.items() if paths}


def _entries(folder: str, subfolder: str) -> list[tuple[str, str]]:
    """(id, path) of everything that an id may mean; a file also goes by its full name."""
    try:
        scan = os.scandir(Path(folder) / subfolder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    entries = []
    with scan:
        for entry in scan:
            file = Path(entry.name)
            if file.suffix.lower() in VIDEO_EXTENSIONS:
                names = [file.stem, file.name]
            elif entry.is_dir():
                names = [entry.name]
            else:
                continue
            prefix = f"{subfolder}/" if subfolder else ""
            entries += [(prefix + name, entry.path) for name in names]
    return entries
