"""Find the video of each annotated id: a video file or a frame folder.

Only folders are listed; files are not accessed one by one, since there may be a million on a network disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...structures.keyframes import VideoKeyframes
from ...utils.errors import UserError
from ...video.listing import (
    VIDEO_EXTENSIONS,
    extension,
    file_key,
    identity,
    is_unknown,
    natural_key,
    scan,
    videos_in,
    warn_of_unknown,
)
from ...video.packed import is_folder
from .columns import Strings, release_memory

__all__ = [
    "VIDEO_EXTENSIONS",
    "Located",
    "as_identities",
    "equal_pair",
    "find_videos",
    "locate",
    "number_files",
    "without_extension",
]

_AT_A_TIME = 1 << 16  # entries of folders
_ENDING = rf"(?i)[^/]({'|'.join(map(re.escape, sorted(VIDEO_EXTENSIONS)))})$"  # of a video
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Located(NamedTuple):
    """Locations of the videos of N names.

    Attributes:
        place: int64 (N,), index into ``paths``; -1 if there is no video.
        paths: P paths of the videos that were found.
        identities: uint64 (P, 2), device and inode of each, for :func:`number_files`.
    """

    place: NDArray[np.int64]
    paths: Strings
    identities: NDArray[np.uint64]


_Entry = tuple[str, str, int, int]  # possible id, path, device and inode of a folder entry


def without_extension(file: str) -> str:
    """``a/v.1.avi`` -> ``a/v.1``; a name without a video extension is unchanged."""
    stem, dot, ending = file.rpartition(".")
    return stem if f"{dot}{ending}".lower() in VIDEO_EXTENSIONS else file


def find_videos(folders: Sequence[str], video_ids: Iterable[str]) -> dict[str, str]:
    """Path of each video that exists, by id; see :func:`locate`."""
    names = Strings.of(dict.fromkeys(video_ids))
    place, paths, _ = locate(folders, names)
    return {name: paths[at] for name, at in zip(names, place.tolist(), strict=True) if at >= 0}


def locate(folders: Sequence[str], names: Strings) -> Located:
    """Find the video of each name.

    ``id`` is found as ``id.EXT`` or as a folder ``id/`` of frames in one of ``folders``, or as the file ``id``
    if ids include their extension (any extension). An id with slashes is looked up in subfolders.

    Raises:
        UserError: a folder does not exist or cannot be read, or an id matches two files.
    """
    for folder in folders:
        if not is_folder(folder):
            raise UserError(f"the folder of videos {folder} does not exist")
    wanted = names.unique()
    subfolders = sorted(wanted.folders())
    with_ending = wanted.any_matches(_ENDING)
    unknown: list[_Entry] = []  # entries with an unknown extension
    entries = (
        entry
        for folder in folders
        for subfolder in subfolders
        for entry in _entries(Path(folder), subfolder, with_ending, unknown)
    )
    rows, paths, identities = [], [], []
    while batch := list(islice(entries, _AT_A_TIME)):
        row = Strings.of(entry[0] for entry in batch).places_in(wanted)
        kept = np.flatnonzero(row >= 0).tolist()
        rows.append(row[kept])
        paths.append(Strings.of(batch[k][1] for k in kept))
        identities.append(as_identities((batch[k][2], batch[k][3]) for k in kept))
    row = np.concatenate([np.zeros(0, np.int64), *rows])
    path = Strings.join(paths)
    _check_one_file_a_name(row, path, wanted)
    place = np.full(len(wanted), -1)
    place[row] = np.arange(len(row))
    asked = Strings.of(entry[0] for entry in unknown).places_in(wanted)
    lost = [entry[1] for entry, at in zip(unknown, asked.tolist(), strict=True) if at >= 0 > place[at]]
    warn_of_unknown(", ".join(folders), lost)
    release_memory()
    identity = np.concatenate([np.zeros((0, 2), np.uint64), *identities])
    return Located(place[names.places_in(wanted)], path, identity)


def as_identities(pairs: Iterable[tuple[int, int]]) -> NDArray[np.uint64]:
    """Columns uint64 (P, 2) of (device, inode)."""
    return np.array(list(pairs), np.uint64).reshape(-1, 2)


def number_files(identities: NDArray[np.uint64], paths: Strings) -> NDArray[np.int64]:
    """Number the files from 0, int64 (P,); paths of the same file (such as links) get equal numbers.

    Some file systems list wrong inodes or none, so files with equal identities are compared directly.
    """
    keys = identities[:, 1] ^ (identities[:, 0] * np.uint64(0x9E3779B97F4A7C15))
    _, numbers, counts = np.unique(keys, return_inverse=True, return_counts=True)
    real: dict[object, int] = {}
    for k in np.flatnonzero(counts[numbers] > 1).tolist():
        try:
            key: object = file_key(paths[k], Path(paths[k]).stat())
        except OSError:
            key = paths[k]
        numbers[k] = real.setdefault(key, len(counts) + len(real))
    return numbers


def equal_pair(numbers: NDArray[np.int64]) -> tuple[int, int] | None:
    """The first index whose number occurred before, and that earlier index; negative numbers are ignored."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    equal = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0))
    if not len(equal):
        return None
    first = equal[np.argmin(order[equal + 1])]
    return int(order[first + 1]), int(order[first])


def _entries(folder: Path, subfolder: str, with_ending: bool, unknown: list[_Entry]) -> Iterator[_Entry]:
    """Candidates for ids; ``with_ending`` adds full file names. Files of unknown kinds go to ``unknown``."""
    prefix = f"{subfolder}/" if subfolder else ""
    place = folder / subfolder
    try:
        try:
            device = place.stat().st_dev
        except OSError:  # in a packed folder; otherwise scan() has the same error
            device = 0
        for entry in scan(place):
            name, rest = entry.name, (entry.path, *identity(entry, device))
            kind = extension(name)
            if kind in VIDEO_EXTENSIONS:
                yield prefix + name[: -len(kind)], *rest
                if with_ending:
                    yield prefix + name, *rest
                continue
            if kind and is_unknown(name) and not entry.is_dir():
                unknown.append((prefix + name[: -len(kind)], *rest))
            yield prefix + name, *rest
    except ValueError:  # not a valid file name
        return
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise UserError(
                f"the folder of videos {place} cannot be read: {error.strerror or error}"
            ) from error


def _check_one_file_a_name(row: NDArray[np.int64], paths: Strings, wanted: Strings) -> None:
    order = np.argsort(row, kind="stable")
    for k in np.flatnonzero(row[order][1:] == row[order][:-1]).tolist():
        first, second = paths[order[k]], paths[order[k + 1]]
        if first != second:
            raise UserError(
                f"video {wanted[row[order[k]]]!r} could be {first} or {second}; remove or rename one, "
                "or name fewer folders of videos"
            )


def videos_of_folder(
    folder: str | os.PathLike, spacing: float = 1.0, fps: float = 25.0
) -> list[VideoKeyframes]:
    """The video files and frame folders in a folder.

    Raises:
        UserError: the folder does not exist or has no videos, or two videos have the same name.
    """
    if not is_folder(folder):
        raise UserError(f"there is neither a dataset nor a folder {folder}")
    paths = {path: Path(path).stem for path in videos_in(folder)}
    paths |= {entry.path: entry.name for entry in scan(folder) if entry.is_dir()}
    if not paths:
        raise UserError(f"there are no videos in {folder}")
    by_name: dict[str, str] = {}
    for path, name in paths.items():
        if by_name.setdefault(name, path) != path:
            raise UserError(f"{by_name[name]} and {path} would both be called {name}; rename one")
    ordered = sorted(paths, key=lambda path: natural_key(Path(path).name))
    return [VideoKeyframes(paths[path], path, fps, spacing=spacing) for path in ordered]
