"""The one exception type for mistakes that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """Something in the user's input is wrong: a file, a row, a key, a shape.

    The message is one line that says what is wrong, where (file and row, or key) and how to
    mend it. Command lines print it without a traceback and exit with status 1.
    """


def nearest(word: str, choices: Iterable[str], count: int = 1) -> str:
    """``"; did you mean 'X'?"`` for the choices most like ``word``, or ``""`` when none is close."""
    close = difflib.get_close_matches(word, list(choices), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
