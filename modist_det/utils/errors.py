"""``UserError``: the exception for mistakes that a user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest", "shorten"]

_LONGEST = 1200  # characters of a message
_END = 300  # of these at the end, which says how to correct the mistake
_LONGEST_WORD = 200
# Terminals interpret some control characters.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class UserError(Exception):
    """A mistake in the user's input: a file, a row, a key or a shape.

    The message is one line that says what is wrong, where (file and row, or key) and how to correct it. Command lines
    print it without a traceback and exit with status 1. Messages quote input of any length and kind, so they are
    cleaned by :func:`shorten`.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shorten(str(message)))


def shorten(message: str) -> str:
    """``message`` on one line, without its middle if it is very long; control characters and surrogates are escaped."""
    if len(message) > _LONGEST:
        left_out = len(message) - _LONGEST
        message = f"{message[: _LONGEST - _END]} ... ({left_out:,} characters left out) ... {message[-_END:]}"
    message = " ".join(line.strip() for line in message.split("\n"))
    return message.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")


def nearest(word: str, choices: Iterable[str], count: int = 1) -> str:
    """``"; did you mean 'X'?"`` for the choices most similar to ``word``, or ``""`` if none is close."""
    if len(word) > _LONGEST_WORD:  # the search takes quadratic time
        return ""
    close = difflib.get_close_matches(word, list(choices), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
