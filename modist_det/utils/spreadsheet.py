"""Names in csv files that people open in a spreadsheet."""

from __future__ import annotations

import re

__all__ = ["as_text"]


def as_text(name: str) -> str:
    """``name`` as a cell that no spreadsheet takes for a formula: with an apostrophe before it where it begins as one.

    Class names come from files of others, and ``=HYPERLINK(...)`` in a cell runs when the file is opened. Ids such as
    YouTube's ``-5KQ66BBWC4`` are left alone: they compute nothing, and people join tables by them.
    """
    is_formula = name.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{name}" if is_formula and not re.fullmatch(r"-[\w-]{5,}", name) else name
