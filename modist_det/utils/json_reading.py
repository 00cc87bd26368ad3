"""JSON, for every file from outside, trusted or not."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from .errors import UserError
from .text_files import read_text

__all__ = ["malformed", "parse_json", "read_json"]

# An escape for a character that no file name or UTF-8 file can have: NUL, or half of a surrogate pair.
_BAD_ESCAPE = re.compile(
    r"(?<!\\)(?:\\\\)*(\\u(?:0000|d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab]..\\u)d[c-f][0-9a-f]{2}))",
    re.IGNORECASE,
)


def read_json(path: str | os.PathLike, name: str = "") -> Any:
    """The content of a JSON file.

    Raises:
        UserError: as :func:`.read_text` and :func:`parse_json`.
    """
    name = name or str(path)
    return parse_json(read_text(path, name), name)


def parse_json(text: str, name: str) -> Any:
    """Plain values from JSON text.

    Args:
        name: what messages call its origin.

    Raises:
        UserError: it is not JSON, is nested too deeply, or a text has a NUL or half of a surrogate pair.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise UserError(f"{name} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{name} is not JSON ({error})") from error
    if bad := _BAD_ESCAPE.search(text):
        raise UserError(f"{name} has {bad[1]} in a text, which no file name or text can have")
    return content


@contextlib.contextmanager
def malformed(message: str) -> Iterator[None]:
    """Turn exceptions about content of another form (a missing key, a list for a number, a number out of range)
    into ``UserError(f"{message}: ...")``."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{message}: it lacks {error}") from error
    except (TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{message}: {error}") from error
