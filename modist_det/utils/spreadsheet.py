"""Safe text for csv files that are opened in a spreadsheet."""

from __future__ import annotations

import re

__all__ = ["as_text"]


def as_text(name: str) -> str:
    """``name`` as a cell that spreadsheets do not evaluate: an apostrophe is added if it looks like a formula.

    Class names may come from untrusted files, and ``=HYPERLINK(...)`` would run when the file is opened. Ids such as
    YouTube's ``-5KQ66BBWC4`` are unchanged: they are harmless, and tables are joined by them.
    """
    is_formula = name.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{name}" if is_formula and not re.fullmatch(r"-[\w-]{5,}", name) else name
