"""Two parsers of AVA's csv files that give the same table.

:func:`parse_plain` is vectorized and takes plain files (see :mod:`.csv_bytes`); :func:`parse_exact` goes row by
row with Python's csv module, takes quoted names, odd spacing and the like, and words every error.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .ava_tables import MAX_SECOND, BoxTable, Layout, Problem, TableBuilder
from .csv_bytes import NotPlain, PlainRows, iter_chunks, parse_numbers, runs_of_equal_text
from .errors import UserError
from .paths import local_path

__all__ = ["parse_exact", "parse_plain", "read_rows"]

_MAX_INT = 2**31 - 1
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def read_rows(path: str | os.PathLike) -> tuple[bytes, int]:
    """The file from its first row on, lines ended by "\\n" where that is possible, and that row's line number."""
    try:
        data = Path(local_path(path)).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise UserError(f"{path} is not UTF-8 text (it holds zero bytes); save it as csv in UTF-8")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    start = len(data) - len(data.lstrip(b"\n"))
    end = data.find(b"\n", start)
    first = data[start : len(data) if end < 0 else end]
    if _is_header(first):
        start += len(first)
    return data[start:], 1 + data.count(b"\n", 0, start)


def _is_header(line: bytes) -> bool:
    """Names of columns: from the second on each begins with a letter and none is a number."""
    try:
        cells = next(csv.reader([line.decode("utf-8")]), [])[1:]
    except (UnicodeDecodeError, csv.Error):
        return False
    words = [cell.strip() for cell in cells]
    return bool(words) and all(w[:1].isalpha() and w.lower() not in ("nan", "inf", "infinity") for w in words)


# ---- plain files ------------------------------------------------------------------------------


def parse_plain(path: str, data: bytes, first_line: int, layout: Layout) -> BoxTable:
    if b'"' in data or b"\r" in data:
        raise NotPlain
    numbers: dict[bytes, int] = {}
    builder = TableBuilder()
    for text in iter_chunks(data):
        _parse_chunk(text, first_line, layout, numbers, builder)
        first_line += int(np.count_nonzero(text == ord("\n")))
    try:
        videos = tuple(name.decode("utf-8") for name in numbers)
    except UnicodeDecodeError:
        raise NotPlain from None
    return builder.table(path, videos)


def _parse_chunk(
    text: np.ndarray, first_line: int, layout: Layout, numbers: dict[bytes, int], builder: TableBuilder
) -> None:
    rows = PlainRows(text)
    starts, ends = rows.ends(rows.first, -1) + 1, rows.ends(rows.first, 0)
    filled = np.flatnonzero((rows.columns > 1) | (ends > starts))
    starts, ends, width, first = starts[filled], ends[filled], rows.columns[filled], rows.first[filled]
    if (starts == ends).any() or not np.isin(width, layout.widths).all():
        raise NotPlain
    video = _number_videos(text, starts, ends, numbers)
    second = parse_numbers(text, ends + 1, rows.ends(first, 1))
    if ((second < 0) | (second > MAX_SECOND)).any():
        raise NotPlain
    line = first_line + filled
    bare = width == 2
    if bare.any():
        builder.add_keyframes(video[bare], second[bare], line[bare])
        video, second, line, width, first = (c[~bare] for c in (video, second, line, width, first))
    if not len(first):
        return
    edges = [rows.ends(first, c) for c in range(1, 7)]
    boxes = np.stack([parse_numbers(text, a + 1, b) for a, b in pairwise(edges[:5])], axis=1)
    action = _whole_numbers(text, edges[4] + 1, edges[5], optional=layout.action_optional)
    if ((action < 1) & ~(layout.action_optional & (action == -1))).any():
        raise NotPlain
    score = np.ones(len(first))
    person = np.full(len(first), -1, dtype=np.int32)
    wide = width == 8
    last = edges[5][wide] + 1, rows.ends(first[wide], 7)
    if layout.last == "score":
        score[wide] = parse_numbers(text, *last)
    elif layout.last == "person":
        person[wide] = _whole_numbers(text, *last, optional=True)
        if (person < -1).any():
            raise NotPlain
    builder.add_boxes(video, second, boxes, action, score, person, line)


def _number_videos(
    text: np.ndarray, starts: np.ndarray, ends: np.ndarray, numbers: dict[bytes, int]
) -> NDArray[np.int32]:
    """Number of each row's video; a new name gets the next number."""
    runs = runs_of_equal_text(text, starts, ends)
    data = text.tobytes()
    edges = zip(starts[runs].tolist(), ends[runs].tolist(), strict=True)
    of_run = [numbers.setdefault(data[start:end], len(numbers)) for start, end in edges]
    return np.repeat(np.array(of_run, dtype=np.int32), np.diff(runs, append=len(starts)))


def _whole_numbers(
    text: np.ndarray, starts: np.ndarray, ends: np.ndarray, *, optional: bool
) -> NDArray[np.int32]:
    """int32 of each cell; -1 where it is empty, if that is allowed."""
    given = ends > starts
    if given.all() or not optional:
        values = parse_numbers(text, starts, ends)
    else:
        values = np.full(len(starts), -1.0)
        values[given] = parse_numbers(text, starts[given], ends[given])
    if ((values != np.floor(values)) | (np.abs(values) > _MAX_INT)).any():
        raise NotPlain
    return values.astype(np.int32)


# ---- all other files --------------------------------------------------------------------------


def parse_exact(
    path: str, data: bytes, first_line: int, layout: Layout, report: Callable[[Problem], None]
) -> BoxTable:
    """Row by row; calls ``report`` for each row that is wrong and goes on without it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise UserError(f"{path}:{line}: not UTF-8 text; save the file as csv in UTF-8") from error
    numbers: dict[str, int] = {}
    keyframes: list[tuple] = []
    boxes: list[tuple] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = first_line + reader.line_num
        try:
            cells = next(reader, None)
            if cells is None:
                break
            # A blank line, which may come with spaces.
            if len(cells) > 1 or (cells and cells[0].strip()):
                row = _parse_row(cells, layout)
                video = numbers.setdefault(cells[0], len(numbers))
                (boxes if len(row) > 1 else keyframes).append((video, *row, line))
        except csv.Error as error:
            report(Problem(path, line, f"not a csv row ({error}); a quote may be missing"))
            break  # where the next row begins is not known
        except _RowError as error:
            report(Problem(path, line, str(error)))
    builder = TableBuilder()
    if keyframes:
        builder.add_keyframes(*zip(*keyframes, strict=True))
    if boxes:
        builder.add_boxes(*zip(*boxes, strict=True))
    return builder.table(path, tuple(numbers))


class _RowError(Exception):
    """What is wrong with a row."""


def _parse_row(cells: list[str], layout: Layout) -> tuple:
    """``(second,)`` or ``(second, box, action, score, person)``."""
    # Tables written by other programs fill up the rows of empty keyframes with empty cells.
    if len(cells) > 2 and not any(cell.strip() for cell in cells[2:]):
        cells = cells[:2]
    if len(cells) not in layout.widths:
        widths = " or ".join(", ".join(map(str, layout.widths)).rsplit(", ", 1))
        hint = "; separate columns with commas" if len(cells) == 1 and re.search(r"[;\t ]", cells[0]) else ""
        raise _RowError(
            f"{len(cells)} column{'s' * (len(cells) != 1)}, but a {layout.name} row has {widths} ({layout.usage}){hint}"
        )
    if not cells[0]:
        raise _RowError("the video's name is empty")
    second = _number(cells[1], "second")
    if not 0 <= second <= MAX_SECOND:
        raise _RowError(f"second is {cells[1].strip()}, but must be from 0 to {MAX_SECOND}")
    if len(cells) == 2:
        return (second,)
    box = [_number(cell, name) for cell, name in zip(cells[2:6], ("x1", "y1", "x2", "y2"), strict=True)]
    action = _whole_number(cells[6], "action", optional=layout.action_optional)
    if action < 1 and not (layout.action_optional and action == -1):
        raise _RowError(f"action is {cells[6].strip()}, but class ids begin at 1")
    score, person = 1.0, -1
    if layout.last == "score":
        score = _number(cells[7], "score")
    elif len(cells) == 8:
        person = _whole_number(cells[7], "person id", optional=True)
        if person < -1:
            raise _RowError(f"person id is {person}, but must not be negative")
    return second, box, action, score, person


def _number(text: str, name: str) -> float:
    """The finite decimal number that ``text`` is; ASCII digits, spaces around it allowed."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isfinite(value):
        return value
    raise _RowError(
        f"{name} is {text.strip()!r}, not a finite number" if text.strip() else f"{name} is empty"
    )


def _whole_number(text: str, name: str, *, optional: bool) -> int:
    if optional and not text.strip():
        return -1
    value = _number(text, name)
    if not value.is_integer() or abs(value) > _MAX_INT:
        raise _RowError(f"{name} is {text.strip()!r}, not a whole number")
    return int(value)
