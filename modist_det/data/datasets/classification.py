"""Videos with class labels: the base class of all readers.

A reader turns its annotation files into :class:`Entry` objects; this module finds their videos and makes records.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...structures.class_facts import ClassFacts
from ...utils.errors import UserError, nearest
from ...utils.json_reading import read_json
from ...utils.text_files import read_text
from .columns import Strings, release_memory
from .description import check_folders, check_number, check_share
from .entries import Entries, Entry, EntryBuilder, as_entries, check_unique
from .persons import take_ragged
from .records import VideoRecords
from .videos import Located, equal_pair, locate, number_files, without_extension

__all__ = [
    "ClassificationDataset",
    "ClassificationMetadata",
    "Entries",
    "Entry",
    "EntryBuilder",
    "SplitDataset",
    "check_split",
    "check_unique",
    "class_index",
    "file_choices",
    "iter_lines",
    "read_class_file",
    "read_lines",
]

logger = logging.getLogger(__name__)

_PIECE = 1 << 20  # characters of a text file
_LISTED = 20  # missing videos named in the log


@dataclass(frozen=True)
class ClassificationMetadata:
    """Facts about a classification dataset.

    Attributes:
        name: name of the dataset.
        class_names: by class index, from 0.
        directional: classes distinguish left from right, so mirroring a clip would change its label.
    """

    name: str
    class_names: tuple[str, ...]
    directional: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_facts(self) -> ClassFacts:
        names = dict(enumerate(self.class_names))
        return ClassFacts("classification", self.num_classes, names, source=f"dataset {self.name}")


class ClassificationDataset:
    """Base class of the readers: a subclass reads class names and entries. Files are read on first use.

    Args:
        name: for messages.
        videos: folder, or folders, of videos (files in any common format, or frame folders).
        fps: frame rate of frame folders.
        max_missing: largest share of annotated videos that may be missing.
    """

    directional = False  # see ClassificationMetadata

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        self.name = str(name)
        self.videos = check_folders(videos)
        self.fps = None if fps is None else check_number("fps", fps, above=0)
        self.max_missing = check_share("max_missing", max_missing)

    @cached_property
    def metadata(self) -> ClassificationMetadata:
        """Name and classes of the dataset.

        Raises:
            UserError: the file of the class names cannot be read.
        """
        return ClassificationMetadata(self.name, tuple(self.read_class_names()), self.directional)

    def entries(self) -> Entries:
        """All annotated entries, whether or not their videos exist.

        Raises:
            UserError: files cannot be read, a row is malformed or duplicated, or there are no rows.
        """
        entries = as_entries(self.read_entries())
        if not len(entries):
            raise UserError(f"dataset {self.name}: its annotations list no video")
        check_unique(entries)
        return entries

    def records(self) -> VideoRecords:
        """One record per annotated video that exists, in the order of the annotations.

        Raises:
            UserError: as :meth:`entries`; or videos are missing: all of them, or a share above ``max_missing``.
        """
        entries = self.entries()
        place, paths = self._locate(entries)
        self._report_missing(entries, np.flatnonzero(place < 0).tolist())
        present = np.flatnonzero(place >= 0)
        label_starts, labels = take_ragged(entries.label_starts, entries.labels, present)
        records = VideoRecords(
            entries.video_ids.take(present),
            paths.take(place[present]),
            np.full(len(present), np.nan if self.fps is None else self.fps),
            label_starts,
            labels,
            entries.starts[present],
            entries.ends[present],
            entries.num_frames[present],
        )
        release_memory()
        return records

    def find(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Path of each entry's video, by ``video_id``; missing ones are left out.

        Raises:
            UserError: a folder of videos does not exist, a name matches two files, or two entries match one file.
        """
        columns = as_entries(entries)
        place, paths = self._locate(columns)
        return {
            name: paths[at] for name, at in zip(columns.video_ids, place.tolist(), strict=True) if at >= 0
        }

    def _locate(self, entries: Entries) -> tuple[NDArray[np.int64], Strings]:
        """Index of each entry's video in the returned paths (-1 if missing), and the paths."""
        place = np.full(len(entries), -1)
        found: list[Located] = []
        count, choice = 0, 0
        while True:
            asked, names = entries.choices(np.flatnonzero(place < 0), choice)
            if not len(asked):
                break
            found.append(locate(self.videos, names))
            place[asked] = np.where(found[-1].place < 0, -1, found[-1].place + count)
            count, choice = count + len(found[-1].paths), choice + 1
        paths = Strings.join([part.paths for part in found])
        files = number_files(np.concatenate([part.identities for part in found]), paths)
        # Parts of one video count as separate videos.
        _, start = np.unique(entries.starts, return_inverse=True)
        there = np.flatnonzero(place >= 0)
        pair = equal_pair(files[place[there]] * len(entries) + start[there])
        if pair is not None:
            later, earlier = there[list(pair)].tolist()
            raise UserError(
                f"{entries.where(later)}: {entries.video_ids[later]} and {entries.video_ids[earlier]} "
                f"({entries.where(earlier)}) are both {_real(paths[place[later]])}; remove one, or give each a file"
            )
        return place, paths

    def video_records(self) -> VideoRecords:
        """The same records; pretraining ignores their labels."""
        return self.records()

    def read_class_names(self) -> Sequence[str]:
        raise NotImplementedError

    def read_entries(self) -> Sequence[Entry]:
        raise NotImplementedError

    def _report_missing(self, entries: Entries, missing: Sequence[int]) -> None:
        if not missing:
            return
        total = len(entries)
        text = (
            f"dataset {self.name}: {len(missing)} of {total} videos are missing from {', '.join(self.videos)}, "
            f"for example {entries.files(missing[0])[0]} ({entries.where(missing[0])})"
        )
        if len(missing) > self.max_missing * total or len(missing) == total:
            raise UserError(
                f"{text}; put them there or let 'videos' name the right folder; 'max_missing' ({self.max_missing:g}) "
                "is the share that may be missing"
            )
        listed = [entries.video_ids[i] for i in missing[:_LISTED]]
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        logger.warning("%s; they are left out: %s%s", text, ", ".join(listed), more)


class SplitDataset(ClassificationDataset):
    """Base class of datasets that are divided into training and test set in several ways.

    Args:
        annotations: folder of the annotation files.
        subset: "train" or "test".
        split: 1, 2 or 3.
        name, videos, fps, max_missing: as in :class:`ClassificationDataset`.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        annotations: str | os.PathLike,
        subset: str,
        split: int = 1,
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        super().__init__(name, videos, fps, max_missing)
        if subset not in ("train", "test"):
            raise UserError(f"subset is {subset!r}, but is one of train, test")
        self.annotations, self.subset, self.split = Path(annotations), subset, check_split(split)


def _real(path: str) -> str:
    """The path, with its target if it is a link."""
    real = os.path.realpath(path)
    return path if Path(path).name == Path(real).name else f"{path} ({real})"


def iter_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Iterate over (row, text) of the non-empty lines; there is at least one.

    Raises:
        UserError: the file is missing, empty, or not UTF-8 text.
    """
    text = read_text(path)
    row, start, is_empty = 0, 0, True
    while start < len(text):
        # Piece by piece: a million line objects take ten times the memory of the text.
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        for line in text[start:end].splitlines():
            row += 1
            if line := line.strip():
                is_empty = False
                yield row, line
        start = end
    if is_empty:
        raise UserError(f"{path} is empty")


def read_lines(path: str | os.PathLike) -> list[tuple[str, str]]:
    """The non-empty lines as ("file:row", text); there is at least one.

    Raises:
        UserError: the file is missing, empty, or not UTF-8 text.
    """
    return [(f"{path}:{row}", line) for row, line in iter_lines(path)]


def read_class_file(path: str | os.PathLike) -> list[str]:
    """Class names by index: one name per line, or JSON: a list of names or ``{"name": index}`` with indices from 0.

    Quotes around names are removed (some published files have them).

    Raises:
        UserError: the file cannot be read or is empty, a name or index is duplicated, or indices have gaps.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        names = [line.strip('"') for _, line in read_lines(path)]
    else:
        content = read_json(path)
        if isinstance(content, dict):
            try:
                by_index = {int(str(index)): str(name).strip('"') for name, index in content.items()}
            except (TypeError, ValueError):
                raise UserError(f'{path} is neither a list of names nor {{"name": index}}') from None
            if sorted(by_index) != list(range(len(content))):
                raise UserError(f"{path}: class indices do not count up from 0 to {len(content) - 1}")
            content = [by_index[index] for index in range(len(content))]
        if not isinstance(content, list):
            raise UserError(f'{path} is neither a list of names nor {{"name": index}}')
        names = [str(name).strip('"') for name in content]
    if not names:
        raise UserError(f"{path} names no class")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: the class {twice[0]!r} is there twice")
    return names


def file_choices(folder: str, file: str) -> tuple[str, ...]:
    """Possible paths of a listed file: inside or outside its class folder, with any video extension."""
    stem = without_extension(file)
    return tuple(dict.fromkeys((f"{folder}/{file}", f"{folder}/{stem}", file, stem)))


def check_split(split: object) -> int:
    """Validate a split number; raises ``UserError`` unless it is a whole number from 1."""
    if type(split) is not int or split < 1:
        raise UserError(f"split is {split!r}, but must be a whole number from 1")
    return split


def class_index(names: dict[str, int], name: str, where: str, source: str) -> int:
    """The index of a class name.

    Raises:
        UserError: the name is not in ``names``, which come from ``source``.
    """
    if name not in names:
        raise UserError(
            f"{where}: unknown class {name!r}{nearest(name, names)} (classes are those of {source})"
        )
    return names[name]
