"""The one exception type for mistakes that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest", "shorten"]

_LONGEST = 1200  # characters of a message
_END = 300  # of them at its end, which says how to mend it
_LONGEST_WORD = 200
# Terminals interpret some of them.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class UserError(Exception):
    """Something in the user's input is wrong: a file, a row, a key, a shape.

    The message is one line that says what is wrong, where (file and row, or key) and how to
    mend it. Command lines print it without a traceback and exit with status 1. It often quotes the input,
    which may be of any length and kind: see :func:`shorten`.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shorten(str(message)))


def shorten(message: str) -> str:
    """``message`` as one line, without its middle if it is very long; control characters and halves of surrogate
    pairs are written as escapes."""
    if len(message) > _LONGEST:
        left_out = len(message) - _LONGEST
        message = f"{message[: _LONGEST - _END]} ... ({left_out:,} characters left out) ... {message[-_END:]}"
    message = " ".join(line.strip() for line in message.split("\n"))
    return message.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


def nearest(word: str, choices: Iterable[str], count: int = 1) -> str:
    """``"; did you mean 'X'?"`` for the choices most like ``word``, or ``""`` when none is close."""
    if len(word) > _LONGEST_WORD:  # its time grows with the square
        return ""
    close = difflib.get_close_matches(word, list(choices), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
