"""The fast parser of AVA's csv files: whole columns by pyarrow, no loop over rows.

It takes what nearly all files are: UTF-8, commas, ordinary numbers, names quoted or not. Where it is not sure of
something it raises :class:`NotPlain` and says nothing about what is wrong; :func:`.rows.parse_exact` does.
Numbers are those that ``float(text)`` gives, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from .rows import MAX_INT
from .tables import MAX_SECOND, BoxTable, Layout, TableBuilder

__all__ = ["NotPlain", "parse_plain"]

# Pieces are cut at line ends; the number of pieces does not matter, and a piece's columns stay small.
PIECE_BYTES = 4 << 20
_QUOTE, _NEWLINE, _COMMA = b'"\n,'
_NUMBERS = ("second", "x1", "y1", "x2", "y2", "action", "last")
_VIDEO = pa.dictionary(pa.int32(), pa.string())


class NotPlain(Exception):
    """These bytes need the exact parser; says nothing about whether they are right."""


def parse_plain(path: str, data: bytes, first_line: int, layout: Layout) -> BoxTable:
    """The table of :func:`.rows.parse_exact`, or :class:`NotPlain`."""
    if b"\r" in data:
        raise NotPlain
    builder, names = TableBuilder(), _Names()
    width = layout.widths[-1]
    for piece in _pieces(data):
        num_lines = piece.count(b"\n")
        columns = _read(piece, width, num_lines)
        if columns is not None:
            groups = [(columns, np.arange(num_lines))]
        else:  # rows of several widths, blank lines, or names that span lines
            groups = [
                (_read_or_refuse(part, width, len(lines)), lines)
                for width, part, lines in _by_width(piece, layout)
            ]
        numbers = names.number([(group["video"], lines) for group, lines in groups])
        for (group, lines), video in zip(groups, numbers, strict=True):
            _add(builder, group, video, first_line + lines, layout)
        first_line += num_lines
    return builder.table(path, tuple(names.numbers))


def _pieces(data: bytes) -> Iterator[bytes]:
    """``data`` cut at line ends that are not inside quotes, each piece ended by one."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    start, quoted = 0, b'"' in data
    while start < len(data):
        end = data.find(b"\n", min(start + PIECE_BYTES, len(data) - 1)) + 1
        if quoted:
            num_quotes = data.count(b'"', start, end)
            while num_quotes % 2:
                last, end = end, data.find(b"\n", end) + 1
                if not end:
                    raise NotPlain  # a quote that does not end
                num_quotes += data.count(b'"', last, end)
        yield data[start:end]
        start = end


# ---- pyarrow ----------------------------------------------------------------------------------


def _read(rows: bytes, width: int, count: int) -> dict[str, pa.Array] | None:
    """The ``width`` columns of ``count`` rows; None where the rows are not of this form."""
    names = ("video", *_NUMBERS)[:width]
    if rows.count(b'"') and not _quotes_are_around_cells(rows):
        raise NotPlain
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(rows),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(rows) + 1, column_names=names),
            pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=True),
            pyarrow.csv.ConvertOptions(
                column_types={name: pa.float64() for name in names} | {"video": _VIDEO},
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != count:
        return None
    return {name: table.column(name).combine_chunks() for name in names}


def _read_or_refuse(rows: bytes, width: int, count: int) -> dict[str, pa.Array]:
    columns = _read(rows, width, count)
    if columns is None:
        raise NotPlain
    return columns


def _quotes_are_around_cells(rows: bytes) -> bool:
    """Whether each quote begins or ends a cell or is one of two that stand for one: then all csv parsers agree."""
    text = np.frombuffer(rows, dtype=np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    before = text[quotes[::2] - 1]
    if quotes[0] == 0:
        before[0] = _NEWLINE
    after = text[quotes[1::2] + 1]  # the last byte of all is a line end
    return len(quotes) % 2 == 0 and all(
        bool(((near == _COMMA) | (near == _NEWLINE) | (near == _QUOTE)).all()) for near in (before, after)
    )


def _by_width(piece: bytes, layout: Layout) -> Iterator[tuple[int, bytes, NDArray[np.int64]]]:
    """(columns, the rows that have so many, their lines from 0) of the rows of a piece; blank lines are left out.

    Rows with boxes come together and in order: those without the last column get an empty one where others have it.
    """
    text = np.frombuffer(piece, dtype=np.uint8)
    is_end, is_comma = text == _NEWLINE, text == _COMMA
    lines = np.cumsum(is_end) - is_end  # of each byte
    if piece.count(b'"'):
        outside = np.cumsum(text == _QUOTE, dtype=np.int32) % 2 == 0
        is_end &= outside
        is_comma &= outside
    ends = np.flatnonzero(is_end)
    starts = np.concatenate([[0], ends[:-1] + 1])
    widths = np.diff(np.concatenate([[0], np.cumsum(is_comma)[ends]])) + 1
    filled = ends > starts
    if not np.isin(widths[filled], layout.widths).all():
        raise NotPlain
    most = int(widths[filled].max(initial=0))
    for boxes in (False, True):
        chosen = filled & ((widths > 2) == boxes)
        if not chosen.any():
            continue
        wanted = np.repeat(chosen, ends - starts + 1)
        width = most if boxes else 2
        short = np.flatnonzero(chosen & (widths < width))  # 7 columns among 8
        if len(short):
            padded = np.insert(text, ends[short], _COMMA)
            wanted = np.insert(wanted, ends[short], True)
            yield width, padded[wanted].tobytes(), lines[starts[chosen]]
        else:
            yield width, text[wanted].tobytes(), lines[starts[chosen]]


# ---- columns ----------------------------------------------------------------------------------


class _Names:
    """Numbers of the videos, in the order of their first rows."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, groups: list[tuple[pa.DictionaryArray, NDArray[np.int64]]]) -> list[NDArray[np.int32]]:
        """The number of each row's video, for groups of rows of one piece and the lines that they are in."""
        first: dict[str, int] = {}
        parts = []
        for column, lines in groups:
            codes = column.indices.to_numpy()
            names = column.dictionary.to_pylist()
            first_lines = np.zeros(len(names), dtype=np.int64)
            first_lines[codes[::-1]] = lines[::-1]
            for name, line in zip(names, first_lines.tolist(), strict=True):
                first[name] = min(line, first.get(name, line))
            parts.append((codes, names))
        if "" in first:
            raise NotPlain
        for name in sorted(first, key=first.__getitem__):
            self.numbers.setdefault(name, len(self.numbers))
        return [
            np.array([self.numbers[name] for name in names], dtype=np.int32)[codes] for codes, names in parts
        ]


def _add(
    builder: TableBuilder,
    columns: dict[str, pa.Array],
    video: NDArray[np.int32],
    line: NDArray[np.int64],
    layout: Layout,
) -> None:
    """Put the rows of one width into the builder after all checks of their numbers."""
    second = _numbers(columns["second"])
    if ((second < 0) | (second > MAX_SECOND)).any():
        raise NotPlain
    if len(columns) == 2:
        builder.add_keyframes(video, second, line)
        return
    # Tables written by other programs fill up the rows of empty keyframes with empty cells.
    if any(columns[name].null_count for name in ("x1", "y1", "x2", "y2")):
        bare = np.logical_and.reduce(
            [column.is_null().to_numpy(zero_copy_only=False) for column in list(columns.values())[2:]]
        )
        builder.add_keyframes(video[bare], second[bare], line[bare])
        kept = pa.array(~bare)
        columns = {name: column.filter(kept) for name, column in columns.items() if name != "video"}
        video, second, line = video[~bare], second[~bare], line[~bare]
    boxes = np.stack([_numbers(columns[name]) for name in ("x1", "y1", "x2", "y2")], axis=1)
    action = _whole_numbers(columns["action"], optional=layout.action_optional)
    if ((action < 1) & ~(layout.action_optional & (action == -1))).any():
        raise NotPlain
    score, person = np.ones(len(video)), np.full(len(video), -1, dtype=np.int32)
    if layout.last == "score":
        score = _numbers(columns["last"])
    elif "last" in columns:
        person = _whole_numbers(columns["last"], optional=True)
        if (person < -1).any():
            raise NotPlain
    builder.add_boxes(video, second, boxes, action, score, person, line)


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    if column.null_count:
        raise NotPlain
    values = column.to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all():
        raise NotPlain
    return values


def _whole_numbers(column: pa.Array, *, optional: bool) -> NDArray[np.int32]:
    """int32 of each cell; -1 where it is empty, if that is allowed."""
    values = _numbers(column.fill_null(-1.0) if optional else column)
    if ((values != np.floor(values)) | (np.abs(values) > MAX_INT)).any():
        raise NotPlain
    return values.astype(np.int32)
