"""The fast parser of AVA's csv files: whole columns by pyarrow.

It takes what nearly all files are: UTF-8, commas, ordinary numbers, names quoted or not. Where it is not sure of
something it raises :class:`NotPlain` and says nothing about what is wrong; :func:`.exact_parser.parse_exact` does.
Numbers are those that ``float(text)`` gives, to the last bit.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from ...utils.paths import local_path
from ...utils.text_files import why_no_file
from .exact_parser import MAX_INT, from_first_row
from .tables import MAX_SECOND, BoxTable, KeyTable, Layout

__all__ = ["NotPlain", "parse_file", "parse_plain"]

BLOCK_BYTES = 1 << 20  # parsed at a time; a block and its columns stay in the processor's cache
_EDGE = 1 << 16  # bytes in which a first or last row is looked for
_QUOTE, _NEWLINE, _COMMA = b'"\n,'
_BOX = ("x1", "y1", "x2", "y2")
_WHOLE = ("video", "action", "person")  # columns of whole numbers


class NotPlain(Exception):
    """These bytes need the exact parser; says nothing about whether they are right."""


def parse_file(path: str, layout: Layout) -> BoxTable:
    """The table of a file that is ASCII without quotes, blank lines and carriage returns, or :class:`NotPlain`.

    The text is never in memory as a whole.
    """
    local = Path(local_path(path))
    if why_no_file(local):
        raise NotPlain
    try:
        with local.open("rb", buffering=0) as file:
            head = file.read(_EDGE)
            first, line = from_first_row(head)
            start = len(head) - len(first)
            size = file.seek(0, os.SEEK_END) - start
            file.seek(-min(size, _EDGE), os.SEEK_END)
            width = _width(first, file.read(), layout)
            file.seek(start)
            return _parse(
                path, _Blocks(file), size, width, layout, lambda num_rows: np.arange(line, line + num_rows)
            )
    except OSError as error:
        raise NotPlain from error


class _Blocks:
    """A file as pyarrow reads it; each block is checked while it is in the processor's cache."""

    closed = False

    def __init__(self, file: RawIOBase) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        block = self._file.read(size) or b""
        if b"\0" in block or b"\r" in block or b'"' in block or not block.isascii():
            raise NotPlain
        return block


def parse_plain(path: str, data: bytes, first_line: int, layout: Layout) -> BoxTable:
    """The table of :func:`.exact_parser.parse_exact`, or :class:`NotPlain`."""
    if not data.endswith(b"\n"):
        data += b"\n"
    quoted = b'"' in data
    if b"\r" in data or (quoted and not _quotes_are_around_cells(data)):
        raise NotPlain
    try:
        data.decode()  # pyarrow can report no row of another width that is not UTF-8
    except UnicodeDecodeError as error:
        raise NotPlain from error

    def filled_lines(num_rows: int) -> NDArray[np.int64]:
        """Numbers of the lines that are not blank."""
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
        lines = np.flatnonzero(np.diff(ends, prepend=-1) > 1)
        if len(lines) != num_rows:
            raise NotPlain
        return first_line + lines

    width = _width(data[:_EDGE].lstrip(b"\n"), data[-_EDGE:], layout)
    return _parse(path, pa.BufferReader(data), len(data), width, layout, filled_lines, quoted=quoted)


def _parse(
    path: str,
    source: object,
    size: int,
    width: int,
    layout: Layout,
    lines_of: Callable[[int], NDArray[np.int64]],
    *,
    quoted: bool = False,
) -> BoxTable:
    """The table of ``size`` bytes, most of whose rows have ``width`` columns.

    Args:
        source: what pyarrow reads from; :class:`_Blocks` must be without blank lines.
        lines_of: gives the line numbers of that many rows.
    """
    others: list[tuple[int, str]] = []  # rows of another width, by their numbers among all

    def set_aside(row: Any) -> str:
        others.append((row.number - 1, row.text))
        return "skip"

    names = ("video", "second", *_BOX, "action", layout.last or "none")[:width]
    columns = _Columns(names, size // (2 * width - 1) + 1, layout)  # of the cells one may be empty
    may_be_empty = layout.action_optional or layout.last == "person"
    try:
        batches = pyarrow.csv.open_csv(
            source,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
            pyarrow.csv.ParseOptions(
                quote_char=quoted and '"',
                ignore_empty_lines=not isinstance(source, _Blocks),
                invalid_row_handler=set_aside,
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64())
                | {"video": pa.dictionary(pa.int32(), pa.string())},
                null_values=[""] if may_be_empty else [],
                strings_can_be_null=False,
            ),
        )
        for batch in _ahead(batches):
            columns.add(batch)
    except pa.ArrowInvalid as error:
        raise NotPlain from error
    lines = lines_of(columns.size + len(others))
    if not others:
        return columns.table(path, lines)
    if not columns.size:
        raise NotPlain
    numbers = [number for number, _ in others]
    plain = columns.table(path, np.delete(lines, numbers))
    rest = parse_plain(path, "\n".join(text for _, text in others).encode(), 0, layout)
    own = lines[numbers]
    keyframes = replace(rest.keyframes, line=own[rest.keyframes.line])
    return _merged(plain, replace(rest, line=own[rest.line], keyframes=keyframes))


def _ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches; the next one is parsed by another thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _width(head: bytes, tail: bytes, layout: Layout) -> int:
    """The number of columns of the first and the last row, the greater one."""
    rows = head.partition(b"\n")[0], tail.rstrip(b"\n").rpartition(b"\n")[2]
    try:
        width = max(len(next(csv.reader([row.decode()], strict=True), ())) for row in rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotPlain from error
    if width not in layout.widths:
        raise NotPlain
    return width


def _quotes_are_around_cells(data: bytes) -> bool:
    """Whether each quote begins or ends a cell or is one of two that stand for one, and no line ends inside of quotes:
    then all csv parsers agree.
    """
    text = np.frombuffer(b"\n" + data, dtype=np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    near = np.concatenate([text[quotes[::2] - 1], text[quotes[1::2] + 1]])
    before = np.searchsorted(quotes, np.flatnonzero(text == _NEWLINE))
    return not (before % 2).any() and bool(np.isin(near, (_COMMA, _NEWLINE, _QUOTE)).all())


class _Columns:
    """The columns of a table, filled with one batch of rows after another; all numbers are checked.

    Args:
        most: rows that there may be; memory that is not filled is only reserved.
    """

    def __init__(self, names: Sequence[str], most: int, layout: Layout) -> None:
        self.size = 0
        self._layout = layout
        self._videos: dict[str, int] = {}
        self._arrays = {name: np.empty(most, np.int32 if name in _WHOLE else np.float64) for name in names}
        self._boxes = np.empty((4, most if len(names) > 2 else 0))
        self._arrays |= zip(names[2:6], self._boxes, strict=False)
        # The least and the greatest number in each column.
        self._limits = dict.fromkeys(_BOX, layout.box_limits) | {
            "second": (0, MAX_SECOND),
            "action": (-1 if layout.action_optional else 1, MAX_INT),
            "score": (-sys.float_info.max, sys.float_info.max),
            "person": (-1, MAX_INT),
        }

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        if not len(batch):
            return
        rows = slice(self.size, self.size + len(batch))
        self.size = rows.stop
        if self.size > len(self._arrays["video"]):
            raise NotPlain  # rows shorter than any that is right
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            out = self._arrays[name][rows]
            if name == "video":
                names = column.dictionary.to_pylist()
                numbers = [self._videos.setdefault(video, len(self._videos)) for video in names]
                np.take(np.array(numbers, np.int32), column.indices.to_numpy(), out=out, mode="clip")
            else:
                self._fill(name, column, out)
        x1, y1, x2, y2 = self._boxes[:, rows]
        if "" in self._videos or (self._layout.ordered and ((x1 > x2) | (y1 > y2)).any()):
            raise NotPlain

    def _fill(self, name: str, column: pa.Array, out: NDArray[Any]) -> None:
        """Check the numbers of a column and write them to ``out``, -1 for cells that may be empty and are."""
        is_optional = name == ("action" if self._layout.action_optional else "person")
        if column.null_count and not is_optional:
            raise NotPlain
        values = (column.fill_null(-1.0) if column.null_count else column).to_numpy()
        low, high = self._limits[name]
        if not (low <= values.min() and values.max() <= high):
            raise NotPlain
        out[:] = values
        if name in _WHOLE and (out != values).any():
            raise NotPlain
        if name == "action" and is_optional and not out.all():  # 0 is no class
            raise NotPlain

    def table(self, path: str, line: NDArray[np.int64]) -> BoxTable:
        """What was added."""
        columns: dict[str, Any] = {
            name: array[: self.size] for name, array in self._arrays.items() if name not in _BOX
        }
        videos = tuple(self._videos)
        if "action" not in columns:
            return BoxTable.of(path, videos, keyframes=KeyTable.of(path, videos, **columns, line=line))
        for name, value in (("score", np.float64(1)), ("person", np.int32(-1))):
            columns.setdefault(name, np.broadcast_to(value, self.size))
        return BoxTable.of(path, videos, boxes=self._boxes[:, : self.size].T, **columns, line=line)


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
