"""Videos without labels, for pretraining."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...utils.errors import UserError
from ...video.listing import (
    VIDEO_EXTENSIONS,
    extension,
    identity,
    is_unknown,
    walk,
    warn_of_unknown,
)
from ...video.packed import is_folder
from .columns import Strings, release_memory
from .description import check_folders, register_format
from .records import VideoRecord, VideoRecords
from .videos import equal_pair, number_files

__all__ = ["VideoFolder", "VideoRecord"]


class VideoFolder:
    """All video files below one or more folders, sorted by name.

    Args:
        name: for messages.
        videos: folder, or folders, searched recursively.
    """

    def __init__(self, name: str, videos: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
        self.name = name
        self.videos = [Path(folder) for folder in check_folders(videos)]

    def video_records(self) -> VideoRecords:
        """One record for each file.

        Raises:
            UserError: a folder does not exist, there are no videos, or two paths are the same file.
        """
        parts = [self._search(folder) for folder in self.videos]
        ids = Strings.join([part[0] for part in parts])
        paths = Strings.join([part[1] for part in parts])
        if not len(ids):
            raise UserError(
                f"dataset {self.name!r}: there is no video in {', '.join(map(str, self.videos))} "
                f"(kinds: {' '.join(sorted(VIDEO_EXTENSIONS))})"
            )
        pair = equal_pair(number_files(np.concatenate([part[2] for part in parts]), paths))
        if pair is not None:
            raise UserError(
                f"dataset {self.name!r}: {paths[pair[1]]} and {paths[pair[0]]} are one file; remove one, or name "
                "fewer folders of videos"
            )
        order = ids.order()
        count, none = len(ids), np.full(len(ids), np.nan)
        release_memory()
        return VideoRecords(
            ids.take(order),
            paths.take(order),
            none,
            np.zeros(count + 1, np.int64),
            np.zeros(0, np.int32),
            none,
            none,
            np.full(count, -1),
        )

    def _search(self, folder: Path) -> tuple[Strings, Strings, NDArray[np.uint64]]:
        """Ids, paths and file identities of the videos below a folder."""
        if not is_folder(folder):
            raise UserError(f"dataset {self.name!r}: the folder of videos {folder} does not exist")
        identities, unknown = array("Q"), []

        def paths() -> Iterator[str]:
            for entry, device in walk(folder):
                if extension(entry.name) in VIDEO_EXTENSIONS:
                    identities.extend(identity(entry, device))
                    yield entry.path
                elif is_unknown(entry.name):
                    unknown.append(entry.path)

        found = Strings.of(paths())
        warn_of_unknown(f"dataset {self.name}", unknown)
        root = os.fspath(folder).rstrip(os.sep) + os.sep
        ids = Strings.of(path[len(root) : -len(extension(path))].replace(os.sep, "/") for path in found)
        return ids, found, np.array(identities, np.uint64).reshape(-1, 2)


register_format("videos", VideoFolder, path_arguments=["videos"])
