"""Write files atomically: they are either complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError

__all__ = [
    "atomic_path",
    "check_is_file",
    "check_is_folder",
    "inside",
    "is_file",
    "is_folder",
    "remove_leftovers",
    "remove_unfinished",
    "write_json",
]

# ``.NAME.tmp-RANDOM``. Earlier versions ended in the process id and were not locked.
_TEMPORARY = re.compile(r"\..*\.tmp-(?:[0-9a-f]{16}|(?P<unlocked>\d+))", re.DOTALL)
_LONGEST_NAME = 255  # bytes, on nearly all file systems
_ENDING = len(".") + len(".tmp-") + 16
# Age in seconds at which an unlocked temporary file counts as abandoned.
_OLD = 24 * 3600.0

_unfinished: set[Path] = set()  # temporary files of this process
_swept: set[tuple[int, str]] = set()  # (process, folder) whose leftovers have been removed


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a file; a name that no file can have (too long, with NUL) is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a folder, as :func:`is_file`."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def check_is_file(path: str | os.PathLike) -> None:
    """Check that a file can be written at ``path``. Call this before long work.

    Raises:
        UserError: ``path`` is a folder or a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not an ordinary file"
        raise UserError(f"{path} cannot be written: it is {kind}; give the path of a file")


def check_is_folder(path: str | os.PathLike) -> None:
    """Check that files can be written into the folder ``path``, which need not exist. Call this before long work.

    Raises:
        UserError: a part of ``path`` is a file, or new files may not be made there.
    """
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UserError(f"there can be no folder {path}, since {place} is a file; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(
            f"the folder {path} cannot be written: no permission in {place}; choose another folder"
        )


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside ``path``. Its content becomes ``path`` when the block ends.

    The temporary file exists from the start, empty and with a random name, and is locked while the block runs. Data is
    flushed to disk before the rename. If the block raises, the temporary file is removed and ``path`` is unchanged.
    Files left by a killed process are removed when another process first writes to the folder.

    A symbolic link at ``path`` is replaced by the file; the link's target is unchanged.

    Raises:
        UserError: the file cannot be written (full disk, no permission, a path below a file), or ``path`` is a folder
            or a device.

    Example::

        with atomic_path("result.json") as temporary:
            temporary.write_text("{}")
    """
    path = Path(path)
    check_is_file(path)
    temporary: Path | None = None
    lock = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent)
        temporary, lock = _create(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            below_file = isinstance(error, (FileExistsError, NotADirectoryError)) and not path.parent.is_dir()
            reason = f"{path.parent} is not a folder" if below_file else error.strerror or error
            raise UserError(f"{path} cannot be written: {reason}") from error
        raise
    finally:
        if temporary is not None:
            _unfinished.discard(temporary)
            os.close(lock)


def write_json(path: str | os.PathLike, content: Any, **options: Any) -> None:
    """Write ``content`` as JSON, one space of indentation a level, whole or not at all.

    Args:
        options: of ``json.dumps``.

    Raises:
        UserError: as :func:`atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, **{"indent": 1, **options}), encoding="utf-8")


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Delete temporary files of :func:`atomic_path` in ``folder`` whose process was killed.

    Files of running processes are locked and stay. On file systems without locks, only files unchanged for a day are
    deleted.
    """
    try:
        entries = [entry.name for entry in os.scandir(Path(folder)) if _TEMPORARY.fullmatch(entry.name)]
    except OSError:
        return
    for name in entries:
        with contextlib.suppress(OSError):
            _remove_if_abandoned(Path(folder, name))


def remove_unfinished() -> None:
    """Delete this process's temporary files before an exit without other clean-up."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _create(path: Path) -> tuple[Path, int]:
    """A new empty file beside ``path``, open and locked."""
    stem = os.fsdecode(os.fsencode(path.name)[: _LONGEST_NAME - _ENDING])
    while True:
        temporary = path.with_name(f".{stem}.tmp-{secrets.token_hex(8)}")
        # O_EXCL: do not follow symbolic links or open existing files.
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        _unfinished.add(temporary)
        with contextlib.suppress(OSError):  # no locks on this file system
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(temporary.stat(), os.fstat(file)):
                return temporary, file
        # Another process removed the file before it was locked.
        _unfinished.discard(temporary)
        os.close(file)


def _sweep_once(folder: Path) -> None:
    key = (os.getpid(), str(folder.absolute()))
    if key not in _swept:
        _swept.add(key)
        remove_leftovers(folder)


def _remove_if_abandoned(path: Path) -> None:
    match = _TEMPORARY.fullmatch(path.name)
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        locks = match is not None and match["unlocked"] is None
        if locks:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            except OSError:
                locks = False
        if locks or time.time() - os.fstat(file).st_mtime > _OLD:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def inside(root: str | os.PathLike, name: str, source: str | os.PathLike) -> Path:
    """``root / name``, for a name that was read from a file and will be written or deleted.

    Args:
        source: the file that contains the name.

    Raises:
        UserError: the name is absolute, leads out of ``root`` by ``..`` or links, or is not a file name.
    """
    path = Path(root) / name
    try:
        is_inside = Path(root).resolve() in path.resolve().parents
    except (OSError, ValueError, RuntimeError):  # loops of links, a NUL
        is_inside = False
    if not is_inside:
        raise UserError(
            f"{source} names {name[:200]!r}, which is not a file inside {root}; do not trust this file"
        )
    return path
