"""Reading AVA's csv files: parsing, and what is checked beyond the form of the rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import numpy as np

from ...utils.errors import UserError
from .exact_parser import parse_exact, read_rows
from .fast_parser import NotPlain, parse_file, parse_plain
from .tables import BoxTable, Layout, Problem, box_text

__all__ = ["find_problems", "read_table", "scan_table"]


def read_table(path: str | os.PathLike[str], layout: Layout) -> BoxTable:
    """Every row of the file.

    UTF-8 with or without byte order mark, any line ends, blank lines, quoted names, a header line.

    Raises:
        UserError: the file is missing or not text, or a row is not of ``layout``; names file and line.
    """

    def stop(problem: Problem) -> None:
        raise UserError(str(problem))

    return _parse(path, layout, stop)


def find_problems(path: str | os.PathLike[str], layout: Layout) -> list[Problem]:
    """Everything that is wrong with the file's rows, in order of lines; ``[]`` for a file that is right.

    Besides what :func:`read_table` refuses it lists boxes without area and rows that occur twice.

    Raises:
        UserError: the file is missing or not text.
    """
    table, problems = scan_table(path, layout)
    return sorted(problems + _blemishes(table), key=lambda problem: problem.line)


def scan_table(path: str | os.PathLike[str], layout: Layout) -> tuple[BoxTable, list[Problem]]:
    """The rows that are right and what :func:`read_table` would refuse about the others.

    Raises:
        UserError: the file is missing or not text.
    """
    problems: list[Problem] = []
    return _parse(path, layout, problems.append), problems


def _parse(path: str | os.PathLike[str], layout: Layout, report: Callable[[Problem], None]) -> BoxTable:
    with contextlib.suppress(NotPlain):
        return parse_file(str(path), layout)
    data, first_line = read_rows(path)
    try:
        return parse_plain(str(path), data, first_line, layout)
    except NotPlain:
        return parse_exact(str(path), data, first_line, layout, report)


def _blemishes(table: BoxTable) -> list[Problem]:
    """Rows that can be read but should not be there: boxes without area, repeated rows."""
    problems = []
    for row in np.flatnonzero((table.boxes[:, :2] == table.boxes[:, 2:]).any(axis=1)).tolist():
        message = f"box {box_text(table.boxes[row])} has no area"
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
