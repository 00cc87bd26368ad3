"""``UserError``: the exception for mistakes that a user can correct."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["UserError", "nearest", "shorten"]

_LONGEST = 1200  # characters of a message
_END = 300  # of these at the end, which says how to correct the mistake
_LONGEST_WORD = 200
_PART = re.compile(r"[^\W_]+")
_CLOSE = 0.5
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
    """``"; did you mean 'X'?"`` for the choices most similar to ``word``, or ``""`` if none is close.

    Names are similar if they have words in common (``SOLVER.LR`` and ``SOLVER.BASE_LR``), or letters.
    """
    if len(word) > _LONGEST_WORD:  # the search takes quadratic time
        return ""
    parts = set(_PART.findall(word.lower()))
    letters = difflib.SequenceMatcher(b=word.lower(), autojunk=False)
    found = []
    for choice in choices:
        letters.set_seq1(choice.lower())
        shared = len(parts.intersection(_PART.findall(choice.lower()))) / max(len(parts), 1)
        likeness = (shared, letters.ratio())
        if max(likeness) >= _CLOSE:
            found.append((sum(likeness), choice))
    close = [repr(choice) for _, choice in sorted(found, reverse=True)[:count]]
    return f"; did you mean {' or '.join(close)}?" if close else ""
