"""Lists of videos with class indices (PySlowFast, mmaction2), and folders of classes."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...utils.errors import UserError
from ...video.listing import VIDEO_EXTENSIONS, extension, is_unknown, scan, walk, warn_of_unknown
from ...video.packed import is_folder
from .classification import (
    ClassificationDataset,
    Entries,
    EntryBuilder,
    class_index,
    iter_lines,
    read_class_file,
)
from .description import register_format
from .videos import without_extension

__all__ = ["ClassFolders", "VideoListDataset"]

logger = logging.getLogger(__name__)

COLUMNS = ("path label", "path labels", "path frames label")
_SEPARATORS = {" ": "a space", "\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
_MOST_DIGITS = 4  # of a class index; a longer number is another column by mistake
# The numbers at a row's end, each after a separator; paths may have separators in them, too.
_PATTERNS = {
    columns: re.compile(rf"(?P<path>.+?)(?P<numbers>(?:[\s,;|]+[0-9]+){count})$")
    for columns, count in zip(COLUMNS, ("{1}", "+", "{2}"), strict=True)
}


class VideoListDataset(ClassificationDataset):
    """A text file with a row for each video: its path and class index, from 0.

    The separator is a space, a tab, a comma, a semicolon or a bar, the same in the whole file; paths may contain spaces
    and be quoted.

    Args:
        annotations: the list: ``train.csv`` of PySlowFast, ``..._train_list_videos.txt`` of mmaction2.
        videos: folder, or folders, to which the paths are relative.
        columns: of a row: "path label", "path labels" (one or more: mmaction2's ``multi_class``) or
            "path frames label" (mmaction2's lists of frame folders; a folder with a different number of frames is an
            error).
        classes: names of the class indices: a name a line, or JSON ``{"name": index}``. Default: the numbers
            up to the highest in the list; needed if the list may lack the last class.
        name, fps, max_missing: as in :class:`.classification.ClassificationDataset`.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        annotations: str | os.PathLike,
        columns: str = "path label",
        classes: str | os.PathLike | None = None,
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        super().__init__(name, videos, fps, max_missing)
        if columns not in COLUMNS:
            raise UserError(f"columns is {columns!r}, but is one of {', '.join(map(repr, COLUMNS))}")
        if columns == "path frames label" and fps is None:
            raise UserError(
                "rows with a number of frames name folders of frames; say how many there are a second (fps)"
            )
        self.annotations = Path(annotations)
        self.columns = columns
        self.classes = None if classes is None else Path(classes)

    def read_class_names(self) -> list[str]:
        if self.classes is not None:
            return read_class_file(self.classes)
        highest = int(self._rows().labels.max())
        return [str(number) for number in range(highest + 1)]

    def read_entries(self) -> Entries:
        entries = self._rows()
        last = self.metadata.num_classes - 1
        for place in np.flatnonzero(entries.labels > last)[:1].tolist():
            row = int(np.searchsorted(entries.label_starts, place, side="right")) - 1
            raise UserError(
                f"{entries.where(row)}: class index {max(entries.labels_of(row))} is above {last}, the last of "
                f"{self.classes}; indices count from 0"
            )
        return entries

    def _rows(self) -> Entries:
        builder = EntryBuilder(
            lambda path, _: tuple(dict.fromkeys((path, without_extension(path)))), first=[""]
        )
        first_separator, first_where = "", ""
        for row, line in iter_lines(self.annotations):
            where = f"{self.annotations}:{row}"
            match = _PATTERNS[self.columns].match(line)
            if match is None:
                raise UserError(f"{where}: {line!r} is not '{self.columns}' with whole numbers from 0")
            separator = _separator(match["numbers"], where)
            if separator != (first_separator or separator):
                raise UserError(
                    f"{where}: path and label are separated by {_SEPARATORS[separator]}, but by "
                    f"{_SEPARATORS[first_separator]} in {first_where}; one list has one separator"
                )
            if not first_separator:
                first_separator, first_where = separator, where
            numbers = re.findall("[0-9]+", match["numbers"])
            num_frames = -1
            if self.columns == "path frames label":
                count, *numbers = numbers
                num_frames = int(count[:18])
            wrong = next((number for number in numbers if len(number.lstrip("0")) > _MOST_DIGITS), None)
            if wrong is not None:
                raise UserError(
                    f"{where}: {wrong[:20]} is no class index; indices count classes from 0 ('columns' says what a "
                    "row holds)"
                )
            labels = sorted({int(number) for number in numbers})
            path = match["path"].strip().strip("\"'").replace("\\", "/").removeprefix("./")
            builder.add(path, labels, f"{self.annotations}:", row, num_frames=num_frames)
        return builder.entries()


def _separator(numbers: str, where: str) -> str:
    """The separator before the numbers at the end of a row; spaces around another separator are ignored."""
    found = {part.strip(" ") or " " for part in re.findall(r"[\s,;|]+", numbers)}
    if len(found) > 1 or not found <= _SEPARATORS.keys():
        raise UserError(f"{where}: {numbers.strip()!r} at its end has more than one kind of separator")
    return found.pop()


class ClassFolders(ClassificationDataset):
    """One folder per class, with its videos at any depth.

    Args:
        videos: folder, or folders, of class folders. All video files are used; frame folders are not.
        classes: names of the classes: one per line, or JSON. Default: the class folders in alphabetical order; needed
            if some class folder may be missing.
        name: for messages.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        classes: str | os.PathLike | None = None,
    ) -> None:
        super().__init__(name, videos)
        self.classes = None if classes is None else Path(classes)

    def _class_folders(self) -> list[Path]:
        for root in self.videos:
            if not is_folder(root):
                raise UserError(f"the folder of videos {root} does not exist")
        folders = [Path(entry.path) for root in self.videos for entry in scan(root) if entry.is_dir()]
        return sorted(folders)

    def _warn_of_loose_videos(self) -> None:
        for root in self.videos:
            loose = sorted(
                entry.name
                for entry in scan(root)
                if extension(entry.name) in VIDEO_EXTENSIONS and not entry.is_dir()
            )
            if loose:
                lie = f"{len(loose)} videos lie" if len(loose) > 1 else "1 video lies"
                text = "dataset %s: %s in no class folder and %s left out, for example %s"
                logger.warning(text, self.name, lie, "are" if len(loose) > 1 else "is", Path(root, loose[0]))

    def read_class_names(self) -> list[str]:
        if self.classes is not None:
            return read_class_file(self.classes)
        names = sorted({folder.name for folder in self._class_folders()})
        if not names:
            raise UserError(f"{', '.join(self.videos)}: there is no folder of a class")
        return names

    def read_entries(self) -> Entries:
        indices = {name: i for i, name in enumerate(self.metadata.class_names)}
        builder = EntryBuilder(lambda file, _: (file,), first=[""])
        unknown: list[str] = []
        for folder in self._class_folders():
            label = class_index(indices, folder.name, str(folder), str(self.classes))
            root = str(folder)[: -len(folder.name)]  # "" in the current folder
            paths = []
            for entry, _ in walk(folder):
                if extension(entry.name) in VIDEO_EXTENSIONS:
                    paths.append(entry.path)
                elif is_unknown(entry.name):
                    unknown.append(entry.path)
            for path in sorted(paths, key=Path):
                builder.add(path[len(root) :].replace(os.sep, "/"), (label,), root)
        warn_of_unknown(f"dataset {self.name}", unknown)
        self._warn_of_loose_videos()
        return builder.entries()


register_format("video_list", VideoListDataset, path_arguments=("videos", "annotations", "classes"))
register_format("class_folders", ClassFolders, path_arguments=("videos", "classes"))
