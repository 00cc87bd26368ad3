"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

__all__ = ["atomic_path", "check_is_file"]


def check_is_file(path: str | os.PathLike) -> None:
    """Refuse what a file to be written cannot replace; for work that takes long, before it begins.

    Raises:
        UserError: ``path`` is a folder or a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not an ordinary file"
        raise UserError(f"{path} cannot be written: it is {kind}; give the path of a file")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there becomes ``path`` when the block ends.

    The data is flushed to disk before the rename. If the block raises, the temporary file is removed
    and ``path`` is as it was.

    Raises:
        UserError: the file cannot be written (full disk, no permission, a path below a file), or ``path`` is a
            folder or a device, which the rename would replace.

    Example::

        with atomic_path("result.json") as temporary:
            temporary.write_text("{}")
    """
    path = Path(path)
    check_is_file(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            below_file = isinstance(error, (FileExistsError, NotADirectoryError)) and not path.parent.is_dir()
            reason = f"{path.parent} is no folder" if below_file else error.strerror or error
            raise UserError(f"{path} cannot be written: {reason}") from error
        raise
