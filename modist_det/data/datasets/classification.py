"""Videos with class labels: what the readers of all formats share.

A reader turns its annotation files into :class:`Entry` objects; here their videos are found and made into records.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...utils.errors import UserError, nearest
from .records import VideoRecord
from .videos import find_videos

__all__ = ["ClassificationDataset", "ClassificationMetadata", "Entry", "class_index", "read_lines"]

logger = logging.getLogger(__name__)

_LISTED = 5


@dataclass(frozen=True)
class ClassificationMetadata:
    """Facts about a classification data set.

    Attributes:
        name: of the data set.
        class_names: by class index, from 0.
    """

    name: str
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotated video.

    Attributes:
        video_id: unique in the data set.
        files: what its file may be called below the folder of videos, without extension; the first that exists counts.
        labels: class indices, from 0.
        where: file and row, for messages.
        start, end: seconds of the part that counts.
    """

    video_id: str
    files: tuple[str, ...]
    labels: tuple[int, ...]
    where: str
    start: float | None = None
    end: float | None = None


class ClassificationDataset:
    """Base of the readers: a subclass reads class names and entries. Files are read when something is asked for.

    Args:
        name: for messages.
        videos: folder, or folders, of videos (files of any common kind, or folders of frames).
        fps: frames per second of folders of frames.
        max_missing: share of the annotated videos that may be missing.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        self.name = str(name)
        self.videos = [os.fspath(v) for v in ([videos] if isinstance(videos, (str, os.PathLike)) else videos)]
        self.fps = fps
        self.max_missing = max_missing
        if not self.videos:
            raise UserError("'videos' names no folder")

    @cached_property
    def metadata(self) -> ClassificationMetadata:
        """Name and classes.

        Raises:
            UserError: the file of the class names cannot be read.
        """
        return ClassificationMetadata(self.name, tuple(self.read_class_names()))

    def records(self) -> list[VideoRecord]:
        """One record for each annotated video that is there, in the order of the annotations.

        Raises:
            UserError: files cannot be read, a row is wrong or there twice, or videos are missing: all of them,
                or a share above ``max_missing``.
        """
        entries = self.read_entries()
        _check_unique(entries)
        found = find_videos(self.videos, dict.fromkeys(file for entry in entries for file in entry.files))
        paths = [next((found[file] for file in entry.files if file in found), None) for entry in entries]
        self._report_missing(
            [entry for entry, path in zip(entries, paths, strict=True) if path is None], len(entries)
        )
        present = [(entry, path) for entry, path in zip(entries, paths, strict=True) if path is not None]
        return [
            VideoRecord(number, entry.video_id, path, self.fps, entry.labels, entry.start, entry.end)
            for number, (entry, path) in enumerate(present)
        ]

    def video_records(self) -> list[VideoRecord]:
        """The same records, for pretraining, which takes no notice of labels."""
        return self.records()

    def read_class_names(self) -> Sequence[str]:
        raise NotImplementedError

    def read_entries(self) -> list[Entry]:
        raise NotImplementedError

    def _report_missing(self, missing: Sequence[Entry], total: int) -> None:
        if not total:
            raise UserError(f"data set {self.name}: its annotations list no video")
        if not missing:
            return
        text = (
            f"data set {self.name}: {len(missing)} of {total} videos are missing from {', '.join(self.videos)}, "
            f"for example {missing[0].files[0]} ({missing[0].where})"
        )
        if len(missing) > self.max_missing * total or len(missing) == total:
            raise UserError(
                f"{text}; put them there or let 'videos' name the right folder; 'max_missing' ({self.max_missing:g}) "
                "is the share that may be missing"
            )
        logger.warning("%s; they are left out: %s", text, ", ".join(entry.video_id for entry in missing))


def read_lines(path: str | os.PathLike) -> list[tuple[str, str]]:
    """("file:row", text) of each line that is not empty.

    Raises:
        UserError: the file is missing, or not UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
    return [(f"{path}:{row}", line.strip()) for row, line in enumerate(lines, 1) if line.strip()]


def class_index(names: dict[str, int], name: str, where: str, source: str) -> int:
    """The index of a class name.

    Raises:
        UserError: it is not among ``names``, which ``source`` lists.
    """
    if name not in names:
        raise UserError(
            f"{where}: unknown class {name!r}{nearest(name, names)} (classes are those of {source})"
        )
    return names[name]


def _check_unique(entries: Sequence[Entry]) -> None:
    first: dict[str, Entry] = {}
    for entry in entries:
        earlier = first.setdefault(entry.video_id, entry)
        if earlier is not entry:
            raise UserError(
                f"{entry.where}: video {entry.video_id} is there a second time (first: {earlier.where}); remove one"
            )
