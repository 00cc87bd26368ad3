"""The slow parser of AVA's csv files, and what precedes both parsers.

:func:`parse_exact` goes row by row with Python's csv module: it takes whatever is a csv file and words every error.
Files are read by :mod:`.fast_parser` and come here only where something in them is odd or wrong.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from ...utils.errors import UserError
from ...utils.paths import local_path
from ...utils.text_files import read_file
from .tables import INVERTED, MAX_SECOND, BoxTable, KeyTable, Layout, Problem, box_text

__all__ = ["MAX_INT", "from_first_row", "parse_exact", "read_rows"]

MAX_INT = 2**31 - 1
_LARGEST = 1 << 34  # bytes; some 300 million rows
# What the second column is called in a header, which may have two columns only.
_WORDS_FOR_TIME = {
    *("second", "seconds", "sec", "secs", "time", "times", "time_s", "time_sec", "timestamp", "timestamps"),
    *("time_stamp", "frame_timestamp", "middle_frame_timestamp", "keyframe", "frame", "frame_id"),
}
# Spaces as in Python's float, which does not skip the separators 28 to 31.
_NUMBER = re.compile(r"[^\S\x1c-\x1f]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[^\S\x1c-\x1f]*")


def read_rows(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    """The file from its first row on, lines ended by "\\n" where that is possible, and that row's line number."""
    data = read_file(local_path(path), str(path), _LARGEST)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        raise UserError(f"{path} is not UTF-8 text (it holds zero bytes); save it as csv in UTF-8")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
        if b"\n" not in data and b'"' not in data:  # the line ends of old Macs
            data = data.replace(b"\r", b"\n")
    return from_first_row(data)


def from_first_row(data: bytes) -> tuple[bytes, int]:
    """The text from the first row on that is neither blank nor a header, and that row's line number."""
    rest = data.lstrip(b"\n")
    end = rest.find(b"\n")
    first = rest[:end] if end >= 0 else rest
    if _is_header(first):
        rest = rest[len(first) :].lstrip(b"\n")
    return rest, 1 + data.count(b"\n", 0, len(data) - len(rest))


def _is_header(line: bytes) -> bool:
    """Names of columns: a word for time in the second, or words in all of seven or more. ``vid,Z903`` is a bad row."""
    try:
        cells = next(csv.reader([line.decode("utf-8")]), [])[1:]
    except (UnicodeDecodeError, csv.Error):
        return False
    words = [cell.strip().lower() for cell in cells]
    while words and not words[-1]:
        words.pop()
    if not all(word[:1].isalpha() and word not in ("nan", "inf", "infinity") for word in words):
        return False
    return len(words) >= 6 or (bool(words) and re.sub(r"[\s-]+", "_", words[0]) in _WORDS_FOR_TIME)


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
    keyframes: list[tuple[Any, ...]] = []
    boxes: list[tuple[Any, ...]] = []
    for line, cells in _rows(path, text, first_line, report):
        try:
            row = _parse_row(cells, layout)
        except _RowError as error:
            report(Problem(path, line, str(error)))
            continue
        video = numbers.setdefault(cells[0], len(numbers))
        (boxes if len(row) > 1 else keyframes).append((video, *row, line))
    videos = tuple(numbers)
    empty = KeyTable.of(path, videos, *zip(*keyframes, strict=True))
    return BoxTable.of(path, videos, *zip(*boxes, strict=True), keyframes=empty)


def _rows(
    path: str, text: str, first_line: int, report: Callable[[Problem], None]
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = first_line + reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            report(Problem(path, line, f"not a csv row ({error}); a quote may be missing"))
            return  # where the next row begins is not known
        if cells is None:
            return
        # A blank line may come with spaces.
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield line, cells


class _RowError(Exception):
    """What is wrong with a row."""


def _parse_row(cells: list[str], layout: Layout) -> tuple[Any, ...]:
    """``(second,)`` or ``(second, box, action, score, person)``."""
    # Tables written by other programs fill up the rows of empty keyframes with empty cells.
    if len(cells) > 2 and not any(cell.strip() for cell in cells[2:]):
        cells = cells[:2]
    if len(cells) not in layout.widths:
        widths = " or ".join(", ".join(map(str, layout.widths)).rsplit(", ", 1))
        hint = ""
        if any(";" in cell or "\t" in cell for cell in cells) or (len(cells) == 1 and " " in cells[0]):
            hint = "; separate columns with commas and write decimals with a point"
        elif len(cells) > max(layout.widths):
            excess = cells[max(layout.widths) :]
            hint = "; write decimals with a point" if any(excess) else "; remove the commas at its end"
        article = "an" if layout.name[0] in "aeiou" else "a"
        raise _RowError(
            f"{len(cells)} column{'s' * (len(cells) != 1)}, but {article} {layout.name} row has {widths} "
            f"({layout.usage}){hint}"
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
    low, high = layout.box_limits
    if not all(low <= value <= high for value in box):
        reason = "is outside the image; coordinates are fractions of its size, in [0, 1]"
    elif layout.ordered and (box[0] > box[2] or box[1] > box[3]):
        reason = f"is {INVERTED}"
    else:
        reason = ""
    if reason:
        raise _RowError(f"box {box_text(box)} {reason}")
    return second, box, action, score, person


def _number(text: str, name: str) -> float:
    """The finite decimal number that ``text`` is; ASCII digits, spaces around it allowed."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isfinite(value):
        return value
    if not text.strip():
        raise _RowError(f"{name} is empty")
    hint = "; write decimals with a point" if _NUMBER.fullmatch(text.replace(",", ".")) else ""
    raise _RowError(f"{name} is {text.strip()!r}, not a finite number{hint if ',' in text else ''}")


def _whole_number(text: str, name: str, *, optional: bool) -> int:
    if optional and not text.strip():
        return -1
    value = _number(text, name)
    if not value.is_integer() or abs(value) > MAX_INT:
        raise _RowError(f"{name} is {text.strip()!r}, not a whole number")
    return int(value)
