"""Read JSON from files that may be damaged or malicious."""

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

# An escape for NUL or a lone surrogate, which no file name or UTF-8 file can contain.
_BAD_ESCAPE = re.compile(
    r"(?<!\\)(?:\\\\)*(\\u(?:0000|d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab]..\\u)d[c-f][0-9a-f]{2}))",
    re.IGNORECASE,
)


def read_json(path: str | os.PathLike, name: str = "") -> Any:
    """The content of a JSON file.

    Raises:
        UserError: as for :func:`.read_text` and :func:`parse_json`.
    """
    name = name or str(path)
    return parse_json(read_text(path, name), name)


def parse_json(text: str, name: str) -> Any:
    """Plain values from JSON text.

    Args:
        name: its origin, for messages.

    Raises:
        UserError: it is not JSON, is nested too deeply, or contains a NUL or a lone surrogate.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise UserError(f"{name} is nested too deeply to be read as JSON") from error
    except ValueError as error:
        raise UserError(f"{name} is not JSON ({error})") from error
    if bad := _BAD_ESCAPE.search(text):
        raise UserError(f"{name} contains {bad[1]}, which is not a valid character")
    return content


@contextlib.contextmanager
def malformed(message: str) -> Iterator[None]:
    """Turn exceptions about unexpected content (a missing key, a list instead of a number) into
    ``UserError(f"{message}: ...")``."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{message}: it lacks {error}") from error
    except (TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{message}: {error}") from error
