"""Videos with class labels: what the readers of all formats share.

A reader turns its annotation files into :class:`Entry` objects; here their videos are found and made into records.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...utils.class_facts import ClassFacts
from ...utils.errors import UserError, nearest
from ...utils.json_reading import read_json
from ...utils.text_files import read_text
from .description import check_number, check_share
from .records import VideoRecord
from .videos import find_videos, without_extension

__all__ = [
    "ClassificationDataset",
    "ClassificationMetadata",
    "Entry",
    "check_split",
    "check_unique",
    "class_index",
    "file_choices",
    "read_class_file",
    "read_lines",
]

logger = logging.getLogger(__name__)

_LISTED = 20  # missing videos named in the log


@dataclass(frozen=True)
class ClassificationMetadata:
    """Facts about a classification data set.

    Attributes:
        name: of the data set.
        class_names: by class index, from 0.
        directional: left and right are part of classes, so that a mirrored clip has another label.
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotated video.

    Attributes:
        video_id: unique in the data set.
        files: what its file may be called below the folder of videos, with or without extension; the first that
            exists counts.
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

    directional = False  # see ClassificationMetadata

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        self.name = str(name)
        self.videos = [os.fspath(v) for v in ([videos] if isinstance(videos, (str, os.PathLike)) else videos)]
        self.fps = None if fps is None else check_number("fps", fps, above=0)
        self.max_missing = check_share("max_missing", max_missing)
        if not self.videos:
            raise UserError("'videos' names no folder")

    @cached_property
    def metadata(self) -> ClassificationMetadata:
        """Name and classes.

        Raises:
            UserError: the file of the class names cannot be read.
        """
        return ClassificationMetadata(self.name, tuple(self.read_class_names()), self.directional)

    def entries(self) -> list[Entry]:
        """What is annotated, whether its videos are there or not.

        Raises:
            UserError: files cannot be read, a row is wrong or there twice, or there is none.
        """
        entries = self.read_entries()
        if not entries:
            raise UserError(f"data set {self.name}: its annotations list no video")
        check_unique(entries)
        return entries

    def records(self) -> list[VideoRecord]:
        """One record for each annotated video that is there, in the order of the annotations.

        Raises:
            UserError: as :meth:`entries`; or videos are missing: all of them, or a share above ``max_missing``.
        """
        entries = self.entries()
        paths = self.find(entries)
        self._report_missing([entry for entry in entries if entry.video_id not in paths], len(entries))
        present = [entry for entry in entries if entry.video_id in paths]
        return [
            VideoRecord(number, e.video_id, paths[e.video_id], self.fps, e.labels, e.start, e.end)
            for number, e in enumerate(present)
        ]

    def find(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Path of each entry's video, by ``video_id``; missing ones are left out.

        Raises:
            UserError: a folder of videos does not exist, a name stands for two files, or two entries for one.
        """
        paths: dict[str, str] = {}
        waiting = list(entries)
        for choice in range(max((len(entry.files) for entry in entries), default=0)):
            waiting = [
                entry for entry in waiting if entry.video_id not in paths and choice < len(entry.files)
            ]
            found = find_videos(self.videos, dict.fromkeys(entry.files[choice] for entry in waiting))
            named = ((entry.video_id, found.get(entry.files[choice])) for entry in waiting)
            paths |= {video_id: path for video_id, path in named if path is not None}
        first: dict[tuple[str, float | None], Entry] = {}
        for entry in entries:
            if entry.video_id in paths:
                earlier = first.setdefault((paths[entry.video_id], entry.start), entry)
                if earlier is not entry:
                    raise UserError(
                        f"{entry.where}: {entry.video_id} and {earlier.video_id} ({earlier.where}) are both "
                        f"{paths[entry.video_id]}; remove one, or give each a file"
                    )
        return paths

    def video_records(self) -> list[VideoRecord]:
        """The same records, for pretraining, which takes no notice of labels."""
        return self.records()

    def read_class_names(self) -> Sequence[str]:
        raise NotImplementedError

    def read_entries(self) -> list[Entry]:
        raise NotImplementedError

    def _report_missing(self, missing: Sequence[Entry], total: int) -> None:
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
        listed = [entry.video_id for entry in missing[:_LISTED]]
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        logger.warning("%s; they are left out: %s%s", text, ", ".join(listed), more)


def read_lines(path: str | os.PathLike) -> list[tuple[str, str]]:
    """("file:row", text) of each line that is not empty; there is at least one.

    Raises:
        UserError: the file is missing, empty, or not UTF-8 text.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    rows = [(f"{path}:{row}", line.strip()) for row, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{path} is empty")
    return rows


def read_class_file(path: str | os.PathLike) -> list[str]:
    """Class names by index: a name a line, or JSON: a list of names or ``{"name": index}`` with indices from 0.

    Quotes around names, which some published files have, are taken off.

    Raises:
        UserError: the file cannot be read or names no class, a name or an index is there twice, or indices have
            gaps.
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
    """What a listed file may be called: in its class's folder or outside, of the listed kind or of another."""
    stem = without_extension(file)
    return tuple(dict.fromkeys((f"{folder}/{file}", f"{folder}/{stem}", file, stem)))


def check_split(split: object) -> int:
    """A split's number; ``UserError`` for what is not a whole number from 1."""
    if type(split) is not int or split < 1:
        raise UserError(f"split is {split!r}, but must be a whole number from 1")
    return split


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


def check_unique(entries: Sequence[Entry]) -> None:
    """Raise ``UserError`` for a video that is there twice."""
    first: dict[str, Entry] = {}
    for entry in entries:
        earlier = first.setdefault(entry.video_id, entry)
        if earlier is not entry:
            raise UserError(
                f"{entry.where}: video {entry.video_id} is there a second time (first: {earlier.where}); remove or "
                "rename one"
            )
