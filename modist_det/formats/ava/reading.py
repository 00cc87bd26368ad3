"""Reading AVA's csv files: parsing, and what is checked beyond the form of the rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

from ...utils.errors import UserError
from .exact_parser import parse_exact, read_rows
from .fast_parser import NotPlain, parse_plain
from .tables import BoxTable, Layout, Problem

__all__ = ["find_problems", "read_table", "scan_table"]

# Arithmetic that ends at 1 may end at 1.0000000002.
_TOLERANCE = 1e-6


def read_table(path: str | os.PathLike, layout: Layout) -> BoxTable:
    """Every row of the file.

    UTF-8 with or without byte order mark, any line ends, blank lines, quoted names, a header line.

    Raises:
        UserError: the file is missing or not text, or a row is not of ``layout``; names file and line.
    """

    def stop(problem: Problem) -> None:
        raise UserError(str(problem))

    table = _parse(path, layout, stop)
    for problem in _box_problems(table, layout):
        stop(problem)
    return table


def find_problems(path: str | os.PathLike, layout: Layout) -> list[Problem]:
    """Everything that is wrong with the file's rows, in order of lines; ``[]`` for a file that is right.

    Besides what :func:`read_table` refuses it lists boxes without area and rows that occur twice.

    Raises:
        UserError: the file is missing or not text.
    """
    table, problems = scan_table(path, layout)
    return sorted(problems + _blemishes(table), key=lambda problem: problem.line)


def scan_table(path: str | os.PathLike, layout: Layout) -> tuple[BoxTable, list[Problem]]:
    """The rows that are right and what :func:`read_table` would refuse about the others.

    Raises:
        UserError: the file is missing or not text.
    """
    problems: list[Problem] = []
    table = _parse(path, layout, problems.append)
    bad_boxes = list(_box_problems(table, layout))
    if bad_boxes:
        table = table.take(~np.isin(table.line, [problem.line for problem in bad_boxes]))
    return table, problems + bad_boxes


def _parse(path: str | os.PathLike, layout: Layout, report: Callable[[Problem], None]) -> BoxTable:
    data, first_line = read_rows(path)
    try:
        return parse_plain(str(path), data, first_line, layout)
    except NotPlain:
        return parse_exact(str(path), data, first_line, layout, report)


def _box_problems(table: BoxTable, layout: Layout) -> Iterator[Problem]:
    """Boxes that are outside of the layout's limits or inside out, in order of lines."""
    low, high = layout.min_box - _TOLERANCE, layout.max_box + _TOLERANCE
    if not len(table) or (not layout.ordered and low <= table.boxes.min() and table.boxes.max() <= high):
        return  # the quick way out for large files of detections
    outside = np.any((table.boxes < low) | (table.boxes > high), axis=1)
    inverted = np.any(table.boxes[:, :2] > table.boxes[:, 2:], axis=1) & layout.ordered
    for row in np.flatnonzero(outside | inverted).tolist():
        if outside[row]:
            reason = "is outside the image; coordinates are fractions of its size, in [0, 1]"
        else:
            reason = "is inverted; the order is x1,y1,x2,y2 with x1 <= x2 and y1 <= y2"
        yield Problem(table.path, int(table.line[row]), f"box {_box_text(table, row)} {reason}")


def _blemishes(table: BoxTable) -> list[Problem]:
    """Rows that can be read but should not be there: boxes without area, repeated rows."""
    problems = []
    for row in np.flatnonzero((table.boxes[:, :2] == table.boxes[:, 2:]).any(axis=1)).tolist():
        message = f"box {_box_text(table, row)} has no area"
        problems.append(Problem(table.path, int(table.line[row]), message))
    order = np.lexsort((table.line, table.action, *table.boxes.T, table.second, table.video))
    equal = np.ones(max(len(table) - 1, 0), dtype=bool)
    for column in (table.video, table.second, table.action, *table.boxes.T):
        sorted_column = column[order]
        equal &= sorted_column[1:] == sorted_column[:-1]
    for i in np.flatnonzero(equal).tolist():
        first, again = table.line[order[i]], table.line[order[i + 1]]
        problems.append(Problem(table.path, int(again), f"the same box and action as in line {first}"))
    return problems


def _box_text(table: BoxTable, row: int) -> str:
    return "(" + ", ".join(f"{value:g}" for value in table.boxes[row]) + ")"
