"""Kinetics-400/600/700: csv files with a row per clip of a YouTube video.

``label,youtube_id,time_start,time_end,split``; columns are found by their names in the first row.
Source: https://github.com/cvdfoundation/kinetics-dataset.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from ...utils.errors import UserError
from ...utils.text_files import read_file
from .classification import (
    ClassificationDataset,
    Entries,
    EntryBuilder,
    class_index,
    iter_lines,
    read_class_file,
)
from .columns import Strings
from .description import register_format

__all__ = ["KineticsDataset"]

# Quotes, and what ends a line for Python but not for pyarrow.
_ODD = re.compile(rb"[\"\x00\r\x0b\x0c\x1c-\x1f]|\xc2\x85|\xe2\x80[\xa8\xa9]")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class KineticsDataset(ClassificationDataset):
    """Kinetics, or custom data in its format.

    A clip's file is called ``ID_000012_000022`` (as official archives do) or ``ID``, with or without a folder
    named after its class (with spaces or underscores). Class indices are alphabetical, as is usual for Kinetics.

    Args:
        annotations: the csv file.
        classes: file with all class names, for a subset that may lack some: the training csv, or a file with one name
            per line (or JSON) in the order of the indices. Default: ``annotations``.
        split: keep only rows with this value in the column ``split``; default: all.
        trimmed: False if files called ``ID`` are whole videos; only ``time_start`` to ``time_end`` is then used.
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
        table = _read_plain(self.classes, ("label",))
        if table is not None:
            return sorted({label.strip() for label in pc.unique(table["label"]).to_pylist()})
        return sorted({label for _, (label,) in _rows(self.classes, ("label",))})

    def read_entries(self) -> Entries:
        names = self.metadata.class_names
        indices = {name: i for i, name in enumerate(names)}
        columns = _COLUMNS if self.split is None else (*_COLUMNS, "split")

        def choices(clip: str, labels: tuple[int, ...]) -> tuple[str, ...]:
            return self._files(clip, names[labels[0]])

        first = [f"{name}/" for name in names] if self.trimmed else None
        table = _read_plain(self.annotations, columns)
        plain = None if table is None else self._plain_columns(table, indices)
        if plain is not None:
            clips, numbers = plain
            return Entries(clips, clips, choices, first, [f"{self.annotations}:"], numbers)
        builder = EntryBuilder(choices, first)
        splits = set()
        for row, values in _rows(self.annotations, columns):
            splits.update(values[4:])
            if self.split is None or values[4] == self.split:
                self._add(builder, row, values, indices)
        entries = builder.entries()
        if self.split is not None and not len(entries):
            raise UserError(
                f"{self.annotations}: no row has {self.split!r} in its column split; there is "
                f"{', '.join(map(repr, sorted(splits))) or 'no row'}"
            )
        return entries

    def _plain_columns(
        self, table: pa.Table, indices: dict[str, int]
    ) -> tuple[Strings, dict[str, NDArray]] | None:
        """The clip ids and the columns of :class:`Entries`; None if a row is malformed (:meth:`_add` reports it)."""
        rows = np.arange(2, len(table) + 2)  # below the header
        if self.split is not None:
            chosen = pc.equal(pc.utf8_trim_whitespace(table["split"]), self.split)
            table, rows = table.filter(chosen), rows[chosen.to_numpy()]
        count = len(table)
        found = pc.dictionary_encode(table["label"]).combine_chunks()
        named = [label.strip() for label in found.dictionary.to_pylist()]
        known = [indices[label] if label and label in indices else -1 for label in named]
        labels = np.array(known, np.int32)[found.indices.to_numpy()] if count else np.zeros(0, np.int32)
        start, end = (table[name].to_numpy() for name in ("time_start", "time_end"))
        ids = pc.utf8_trim_whitespace(table["youtube_id"]).combine_chunks()
        right = (labels >= 0) & (start >= 0) & (start < end) & (end < 2**53)
        if not count or not right.all() or pc.any(pc.equal(ids, "")).as_py():
            return None
        digits = [
            pc.utf8_lpad(pc.cast(pa.array(seconds.astype(np.int64)), pa.string()), 6, "0")
            for seconds in (start, end)
        ]
        clips = Strings(pc.binary_join_element_wise(ids, *digits, "_").cast(pa.large_binary()))
        whole = np.full(count, np.nan)
        return clips, {
            "label_starts": np.arange(count + 1),
            "labels": labels,
            "starts": whole if self.trimmed else start,
            "ends": whole if self.trimmed else end,
            "num_frames": np.full(count, -1),
            "places": np.zeros(count, np.int64),
            "rows": rows,
        }

    def _add(self, builder: EntryBuilder, row: int, values: Sequence[str], indices: dict[str, int]) -> None:
        where = f"{self.annotations}:{row}"
        label, youtube_id = values[:2]
        start, end = (_seconds(values[i], _COLUMNS[i], where) for i in (2, 3))
        if not label or not youtube_id:
            raise UserError(f"{where}: {'youtube_id' if label else 'label'} is empty")
        if not 0 <= start < end < math.inf:
            raise UserError(f"{where}: the clip goes from {start:g} to {end:g} seconds")
        clip = f"{youtube_id}_{int(start):06d}_{int(end):06d}"
        labels = (class_index(indices, label, where, str(self.classes)),)
        if self.trimmed:
            start = end = math.nan
        builder.add(clip, labels, f"{self.annotations}:", row, start=start, end=end)

    def _files(self, clip: str, label: str) -> tuple[str, ...]:
        youtube_id = clip.rsplit("_", 2)[0]
        folders = dict.fromkeys([f"{label}/", f"{label.replace(' ', '_')}/", ""])
        names = (clip, youtube_id) if self.trimmed else (youtube_id,)
        return tuple(folder + name for name in names for folder in folders)


def _read_plain(path: Path, columns: Sequence[str]) -> pa.Table | None:
    """These columns of a file without quotes and blank lines; None for other files, which :func:`_rows` reads."""
    data = read_file(path).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if _ODD.search(data):
        return None
    header = [name.strip() for name in data[: data.find(b"\n")].decode("utf-8", "replace").split(",")]
    if len(set(header)) < len(header) or not set(columns) <= set(header):
        return None
    times = {"time_start", "time_end"}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=header, skip_rows=1),
            pyarrow.csv.ParseOptions(quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types={name: pa.float64() if name in times else pa.string() for name in columns},
                include_columns=columns,
                null_values=[],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    num_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return table if len(table) + 1 == num_lines else None


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(row, texts in the order of ``columns``) of each row below the header."""
    lines = iter_lines(path)
    first, names = next(lines)
    header = [name.strip() for name in next(csv.reader([names]))]
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(
            f"{path}:{first}: no column {' or '.join(missing)}; the first row names the columns: "
            "label,youtube_id,time_start,time_end,split"
        )
    places = [len(header) - 1 - header[::-1].index(column) for column in columns]
    for row, line in lines:
        values = next(csv.reader([line])) if '"' in line else line.split(",")
        if len(values) != len(header):
            raise UserError(
                f"{path}:{row}: {len(values)} values for the {len(header)} columns of the first row"
            )
        yield row, [values[place].strip() for place in places]


def _seconds(text: str, column: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}, but must be a number of seconds") from None


register_format("kinetics", KineticsDataset, path_arguments=("videos", "annotations", "classes"))
