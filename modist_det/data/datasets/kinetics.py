"""Kinetics-400/600/700: csv files with a row per clip of a YouTube video.

``label,youtube_id,time_start,time_end,split``; columns are found by their names in the first row.
Source: https://github.com/cvdfoundation/kinetics-dataset.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...utils.errors import UserError
from .classification import ClassificationDataset, Entry, class_index, read_class_file, read_lines
from .description import register_format

__all__ = ["KineticsDataset"]

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class KineticsDataset(ClassificationDataset):
    """Kinetics, or data of one's own in its format.

    A clip's file is called ``ID_000012_000022`` (as official archives do) or ``ID``, in a folder of its class's name
    (spaces may be underscores there) or not. Class indices follow the alphabet, as is usual for Kinetics.

    Args:
        annotations: the csv file.
        classes: where all class names stand, for a set in which some may be missing: the training set's csv, or a file
            with a name a line (or JSON) in the order of the indices. Default: ``annotations``.
        split: only rows with this in the column ``split``; default: all.
        trimmed: False: files called ``ID`` are whole videos of which only ``time_start`` to ``time_end`` counts.
        name, videos, fps, max_missing: as in :class:`.classification.ClassificationDataset`.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        annotations: str | os.PathLike,
        classes: str | os.PathLike | None = None,
        split: str | None = None,
        trimmed: bool = True,
        fps: float | None = None,
        max_missing: float = 0.1,
    ) -> None:
        super().__init__(name, videos, fps, max_missing)
        self.annotations = Path(annotations)
        self.classes = self.annotations if classes is None else Path(classes)
        self.split = split
        if not isinstance(trimmed, bool):
            raise UserError(f"trimmed is {trimmed!r}, but must be true or false")
        self.trimmed = trimmed

    def read_class_names(self) -> list[str]:
        if self.classes.suffix.lower() != ".csv":
            return read_class_file(self.classes)
        return sorted({row["label"] for _, row in _rows(self.classes, ("label",))})

    def read_entries(self) -> list[Entry]:
        indices = {name: i for i, name in enumerate(self.metadata.class_names)}
        columns = _COLUMNS if self.split is None else (*_COLUMNS, "split")
        rows = list(_rows(self.annotations, columns))
        if self.split is not None:
            splits = sorted({row["split"] for _, row in rows})
            rows = [(where, row) for where, row in rows if row["split"] == self.split]
            if not rows:
                raise UserError(
                    f"{self.annotations}: no row has {self.split!r} in its column split; there is "
                    f"{', '.join(map(repr, splits)) or 'no row'}"
                )
        return [self._entry(where, row, indices) for where, row in rows]

    def _entry(self, where: str, row: dict[str, str], indices: dict[str, int]) -> Entry:
        label, youtube_id = row["label"], row["youtube_id"]
        start, end = (_seconds(row[column], column, where) for column in ("time_start", "time_end"))
        if not label or not youtube_id:
            raise UserError(f"{where}: {'youtube_id' if label else 'label'} is empty")
        if not 0 <= start < end < math.inf:
            raise UserError(f"{where}: the clip goes from {start:g} to {end:g} seconds")
        video_id = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
        folders = dict.fromkeys([f"{label}/", f"{label.replace(' ', '_')}/", ""])
        labels = (class_index(indices, label, where, str(self.classes)),)
        if not self.trimmed:
            whole = tuple(folder + youtube_id for folder in folders)
            return Entry(video_id, whole, labels, where, start, end)
        files = tuple(folder + file for file in (video_id, youtube_id) for folder in folders)
        return Entry(video_id, files, labels, where)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """("file:row", {column: text}) of each row below the header."""
    lines = read_lines(path)
    header = [name.strip() for name in next(csv.reader(io.StringIO(lines[0][1])))]
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(
            f"{lines[0][0]}: no column {' or '.join(missing)}; the first row names the columns: "
            "label,youtube_id,time_start,time_end,split"
        )
    for where, line in lines[1:]:
        values = next(csv.reader(io.StringIO(line)))
        if len(values) != len(header):
            raise UserError(f"{where}: {len(values)} values for the {len(header)} columns of the first row")
        yield where, dict(zip(header, (value.strip() for value in values), strict=True))


def _seconds(text: str, column: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}, but must be a number of seconds") from None


register_format("kinetics", KineticsDataset, path_arguments=("videos", "annotations", "classes"))
