"""Read whole files, with one clear error message if that fails."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import UserError

__all__ = ["expand_user", "find_bad_character", "read_file", "read_text", "why_no_file"]

_LARGEST = 1 << 30
_FROM_SHELL = re.compile(r"/dev/stdin|/dev/fd/\d+")


def why_no_file(path: str | os.PathLike) -> str:
    """ "does not exist", "is a folder" or "is not an ordinary file" (a device, a pipe); "" for an ordinary file."""
    path = Path(path)
    if path.is_file():
        return ""
    if path.is_dir():
        return "is a folder"
    return "is not an ordinary file" if path.exists() else "does not exist"


def read_file(path: str | os.PathLike, name: str = "", largest: int = _LARGEST) -> bytes:
    """The bytes of a file, or of a pipe that the shell opened for this process (``<(...)``, ``/dev/stdin``).

    Args:
        name: the file's name in messages (default: its path).
        largest: limit in bytes.

    Raises:
        UserError: it is missing, not an ordinary file (a folder, a device, a pipe), too large or unreadable.
    """
    path = Path(path)
    name = name or str(path)
    try:
        is_pipe = bool(_FROM_SHELL.fullmatch(str(path))) and path.is_fifo()
        if not is_pipe and (reason := why_no_file(path)):
            raise UserError(f"{name} {reason}")
        data = _read_pipe(path, largest) if is_pipe else b""
        size = len(data) if is_pipe else path.stat().st_size
        if size > largest:
            raise UserError(f"{name} has {size:,} bytes; at most {largest:,} are read")
        return data if is_pipe else path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror or error}") from error


def _read_pipe(path: Path, largest: int) -> bytes:
    data = bytearray()
    with path.open("rb") as pipe:
        while len(data) <= largest and (part := pipe.read(1 << 20)):
            data += part
    return bytes(data)


def read_text(path: str | os.PathLike, name: str = "", largest: int = _LARGEST) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Args:
        name, largest: as for :func:`read_file`.

    Raises:
        UserError: as for :func:`read_file`, or it is not UTF-8 text.
    """
    name = name or str(path)
    data = read_file(path, name, largest)
    if b"\0" in data and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{name} is not a text file: it has a NUL byte in line {line}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        which = " (it looks like UTF-16)" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise UserError(f"{name} is not UTF-8 text{which} ({error}); save it as UTF-8") from error


def find_bad_character(text: str) -> str:
    """The first character that no file name or UTF-8 file can contain (NUL, a lone surrogate), as ``"U+0000"``; ``""``
    if there is none."""
    if "\0" in text:
        return "U+0000"
    if text.isascii():
        return ""
    return next((f"U+{ord(letter):04X}" for letter in text if "\ud800" <= letter <= "\udfff"), "")


def expand_user(path: str | os.PathLike) -> Path:
    """``path`` with a leading ``~`` or ``~name`` replaced by the home folder.

    Raises:
        UserError: there is no such user, or the home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{os.fspath(path)}: the home folder is unknown; give the full path") from error
