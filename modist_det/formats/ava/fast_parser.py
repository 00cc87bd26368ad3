"""The fast parser of AVA's csv files: whole columns by pyarrow.

It takes what nearly all files are: UTF-8, commas, ordinary numbers, names quoted or not. Where it is not sure of
something it raises :class:`NotPlain` and says nothing about what is wrong; :func:`.exact_parser.parse_exact` does.
Numbers are those that ``float(text)`` gives, to the last bit.
"""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from .exact_parser import MAX_INT, parse_rows
from .tables import MAX_SECOND, BoxTable, KeyTable, Layout

__all__ = ["NotPlain", "parse_plain"]

BLOCK_BYTES = 4 << 20  # parsed at a time; the columns of a block stay in the processor's cache
_QUOTE, _NEWLINE, _COMMA = b'"\n,'
_NAMES = ("video", "second", "x1", "y1", "x2", "y2", "action", "last")


class NotPlain(Exception):
    """These bytes need the exact parser; says nothing about whether they are right."""


def parse_plain(path: str, data: bytes, first_line: int, layout: Layout) -> BoxTable:
    """The table of :func:`.exact_parser.parse_exact`, or :class:`NotPlain`."""
    if not data.endswith(b"\n"):
        data += b"\n"
    quoted = b'"' in data
    if b"\r" in data or (quoted and not _quotes_are_around_cells(data)):
        raise NotPlain
    if not data.isascii():
        try:
            data.decode()  # pyarrow can report no row of another width that is not UTF-8
        except UnicodeDecodeError as error:
            raise NotPlain from error
    last = data.rfind(b"\n", 0, len(data) - 1) + 1
    width = max(_width(data[: data.find(b"\n", 1)]), _width(data[last:]))
    if width not in layout.widths:
        raise NotPlain
    others: list[tuple[int, str]] = []  # rows of another width, by their numbers among all

    def set_aside(row: Any) -> str:
        others.append((row.number - 1, row.text))
        return "skip"

    num_lines = data.count(b"\n")
    columns = _Columns(num_lines, layout)
    names = _NAMES[:width]
    may_be_empty = layout.action_optional or layout.last == "person"
    try:
        batches = pyarrow.csv.open_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
            pyarrow.csv.ParseOptions(quote_char=quoted and '"', invalid_row_handler=set_aside),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64())
                | {"video": pa.dictionary(pa.int32(), pa.string())},
                null_values=[""] if may_be_empty else [],
                strings_can_be_null=False,
            ),
        )
        for batch in batches:
            columns.add(batch)
    except pa.ArrowInvalid as error:
        raise NotPlain from error
    num_rows = columns.size + len(others)
    lines = first_line + (np.arange(num_lines) if num_rows == num_lines else _filled_lines(data, num_rows))
    numbers = [number for number, _ in others]
    plain = columns.table(path, np.delete(lines, numbers) if numbers else lines, with_boxes=width > 2)
    if not others:
        return plain
    cells = (next(csv.reader([text], strict=True)) for _, text in others)
    rows = zip(lines[numbers].tolist(), cells, strict=True)
    return _merged(plain, parse_rows(path, rows, layout, _refuse))


def _refuse(problem: object) -> None:
    raise NotPlain


def _width(row: bytes) -> int:
    try:
        return len(next(csv.reader([row.decode()], strict=True), ()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotPlain from error


def _quotes_are_around_cells(data: bytes) -> bool:
    """Whether each quote begins or ends a cell or is one of two that stand for one, and no line ends inside of quotes:
    then all csv parsers agree.
    """
    text = np.frombuffer(b"\n" + data, dtype=np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    near = np.concatenate([text[quotes[::2] - 1], text[quotes[1::2] + 1]])
    before = np.searchsorted(quotes, np.flatnonzero(text == _NEWLINE))
    return not (before % 2).any() and bool(np.isin(near, (_COMMA, _NEWLINE, _QUOTE)).all())


def _filled_lines(data: bytes, num_rows: int) -> NDArray[np.int64]:
    """Numbers, from 0, of the lines that are not blank."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
    lines = np.flatnonzero(np.diff(ends, prepend=-1) > 1)
    if len(lines) != num_rows:
        raise NotPlain
    return lines


class _Columns:
    """The columns of a table, filled with one batch of rows after another; all numbers are checked.

    Args:
        most: rows that there may be.
    """

    def __init__(self, most: int, layout: Layout) -> None:
        self.size = 0
        self._layout = layout
        self._videos: dict[str, int] = {}
        self._boxes = np.empty((most, 4))
        self._score, self._person = np.ones(most), np.full(most, -1, np.int32)
        self._arrays: dict[str, NDArray] = {"video": np.empty(most, np.int32), "second": np.empty(most)}
        self._arrays |= {name: self._boxes[:, i] for i, name in enumerate(_NAMES[2:6])}
        self._arrays["action"] = np.empty(most, np.int32)
        self._arrays["last"] = self._score if layout.last == "score" else self._person

    def add(self, batch: pa.RecordBatch) -> None:
        rows = slice(self.size, self.size + len(batch))
        self.size = rows.stop
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            array = self._arrays[name]
            if name == "video":
                names = column.dictionary.to_pylist()
                numbers = [self._videos.setdefault(video, len(self._videos)) for video in names]
                array[rows] = np.array(numbers, np.int32)[column.indices.to_numpy()]
            else:
                array[rows] = self._checked(name, column, array.dtype)
        if "" in self._videos:
            raise NotPlain

    def _checked(self, name: str, column: pa.Array, dtype: np.dtype) -> NDArray:
        """The numbers of a column; -1 for cells that may be empty and are."""
        if column.null_count:
            if name != ("action" if self._layout.action_optional else "last"):
                raise NotPlain
            column = column.fill_null(-1.0)
        values = column.to_numpy()
        if dtype == np.int32:
            lowest = -1 if name == "last" else 1
            good = (np.floor(values) == values) & (values >= lowest) & (values <= MAX_INT)
            if name == "action" and self._layout.action_optional:
                good |= values == -1
        elif name == "second":
            good = (values >= 0) & (values <= MAX_SECOND)
        else:
            good = np.isfinite(values)
        if not good.all():
            raise NotPlain
        return values

    def table(self, path: str, line: NDArray[np.int64], with_boxes: bool) -> BoxTable:
        """What was added."""
        columns = {name: array[: self.size] for name, array in self._arrays.items()}
        videos, video, second = tuple(self._videos), columns["video"], columns["second"]
        if not with_boxes:
            return BoxTable.of(path, videos, keyframes=KeyTable.of(path, videos, video, second, line))
        boxes, score, person = (array[: self.size] for array in (self._boxes, self._score, self._person))
        return BoxTable.of(path, videos, video, second, boxes, columns["action"], score, person, line)


def _merged(first: BoxTable, second: BoxTable) -> BoxTable:
    """The rows of two parts of one file, in the order of their lines."""
    names = tuple(dict.fromkeys(first.videos + second.videos))
    numbers = {name: number for number, name in enumerate(names)}
    parts = []
    for tables in ((first, second), (first.keyframes, second.keyframes)):
        codes = [np.array([numbers[name] for name in t.videos], np.int32)[t.video] for t in tables]
        pairs = [t.columns() | {"video": code} for t, code in zip(tables, codes, strict=True)]
        joined = {name: np.concatenate([columns[name] for columns in pairs]) for name in pairs[0]}
        order = np.argsort(joined["line"], kind="stable")
        parts.append({name: column[order] for name, column in joined.items()})
    # Videos are numbered in the order of their first rows.
    first_line = np.full(len(names), np.iinfo(np.int64).max)
    for part in parts:
        np.minimum.at(first_line, part["video"], part["line"])
    order = np.argsort(first_line)
    videos = tuple(names[number] for number in order)
    for part in parts:
        part["video"] = np.argsort(order)[part["video"]]
    boxes, keyframes = parts
    return BoxTable.of(first.path, videos, **boxes, keyframes=KeyTable.of(first.path, videos, **keyframes))
