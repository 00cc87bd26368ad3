"""The cache of downloaded files and the record of their hashes.

``MODIST_DET_CACHE`` sets the cache folder (default ``~/.cache/modist_det``), ``MODIST_DET_OFFLINE=1`` forbids
downloads, and ``MODIST_DET_LOCK`` sets the lock file (default: ``lock.json`` in the folder). If the hash of a file is
unknown, its first download records it in the lock file, and later downloads must match.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import portalocker
from iopath.common.file_io import file_lock

from .download import Transfer, WrongFile, download, file_sha256, why_silent
from .errors import UserError
from .files import atomic_path
from .json_reading import malformed, read_json
from .text_files import expand_user, find_bad_character

__all__ = [
    "HashRecord",
    "available",
    "cache_folder",
    "cached_path",
    "fetch",
    "lock_file",
    "offline",
    "read_lock",
    "write_lock",
]

logger = logging.getLogger(__name__)

_OFF = ("", "0", "false", "no")
_LONGEST_NAME = 200  # bytes; the limit is 255, and names of temporary files are longer
# Cached file -> its size, time, inode and hash when this process last verified it.
_checked: dict[Path, tuple[int, int, int, str]] = {}


@dataclass(frozen=True)
class HashRecord:
    """Size in bytes and SHA-256 (64 hexadecimal digits) of the file behind a URL."""

    size: int
    sha256: str


def offline() -> bool:
    """Whether ``MODIST_DET_OFFLINE`` forbids downloads."""
    return os.environ.get("MODIST_DET_OFFLINE", "").lower() not in _OFF


def cache_folder() -> Path:
    """The folder of downloaded files."""
    if named := os.environ.get("MODIST_DET_CACHE"):
        return expand_user(named)
    return expand_user(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "modist_det"


def lock_file() -> Path:
    """The JSON file of recorded hashes, ``{url: {"size": ..., "sha256": ...}}``."""
    named = os.environ.get("MODIST_DET_LOCK")
    return expand_user(named) if named else cache_folder() / "lock.json"


def cached_path(url: str) -> Path:
    """The place of ``url`` in the cache: ``HOST/PATH`` below its folder."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is not a URL ({error})") from error
    steps = [step for step in parts.path.split("/") if step not in ("", ".", "..")]
    is_web = parts.scheme in ("http", "https") and parts.netloc.strip(".")
    if not is_web or not steps or find_bad_character(url):
        raise UserError(f"{url} is not the URL of a file (http://HOST/PATH or https://HOST/PATH)")
    if parts.query:
        steps[-1] += f"?{parts.query.replace('/', '_')}"
    return cache_folder().joinpath(*(_short(step) for step in (parts.netloc.replace(":", "_"), *steps)))


def _short(name: str) -> str:
    """``name``, or its beginning and a hash if it is too long for a file name."""
    data = name.encode()
    if len(data) <= _LONGEST_NAME:
        return name
    return f"{data[: _LONGEST_NAME - 33].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:32]}"


def available(url: str, patience: float = 5.0) -> str:
    """Why the file of ``url`` cannot be had now, or ``""`` if it is in the cache or its server answers.

    Args:
        patience: seconds after which the server counts as unreachable.
    """
    if cached_path(url).is_file():
        return ""
    if offline():
        return "it is not in the cache, and MODIST_DET_OFFLINE forbids downloads"
    return why_silent(url, patience)


def fetch(
    url: str,
    *,
    size: int | None = None,
    sha256: str = "",
    name: str = "",
    transfer: Transfer | None = None,
) -> Path:
    """The local file of ``url``, downloaded if it is not in the cache.

    If several processes ask at once, one downloads and the others wait.

    Args:
        size, sha256: known facts about the file; see :func:`~modist_det.utils.download.download`.
        name: what the user called the file, for messages.

    Raises:
        UserError: the file cannot be downloaded, has changed since its first download, or is not in the cache in
            offline mode.
    """
    path = cached_path(url)
    known = read_lock().get(url)
    if known is not None and not known.sha256.startswith(sha256.lower()):
        raise UserError(
            f"{lock_file()} and the catalogue have different hashes for {url} ({known.sha256[:16]}..., {sha256}); "
            "if the catalogue is right, remove the line from the lock file"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder, but should be the file of {name or url}; remove it")
    if not path.is_file():
        if offline():
            raise UserError(
                f"{name or url} is not in the cache, and MODIST_DET_OFFLINE forbids downloads: download {url} on "
                f"another machine and put it at {path}"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(str(path.with_name(f".{path.name}"))):
                if not path.is_file():
                    _download_and_record(url, path, size, sha256, transfer)
        except portalocker.exceptions.LockException as error:
            raise UserError(f"another process has been downloading {path} for an hour; stop it") from error
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror or error}); MODIST_DET_CACHE names another folder"
            ) from error
    length, expected = path.stat().st_size, size if known is None else known.size
    if expected is not None and length != expected:
        raise UserError(f"{path} has {length} bytes instead of {expected}: delete it to download it again")
    if known is not None:
        _check_hash(path, known.sha256)
    return path


def _check_hash(path: Path, sha256: str) -> None:
    """Verify the recorded hash of a cached file: once per process, and again whenever the file changes."""
    stat = path.stat()
    version = (stat.st_size, stat.st_mtime_ns, stat.st_ino, sha256)
    if _checked.get(path) == version:
        return
    digest = file_sha256(path)
    if digest != sha256.lower():
        raise UserError(
            f"{path} has changed since it was downloaded: its SHA-256 is {digest[:16]}..., not {sha256[:16]}...; "
            "delete it to download it again"
        )
    _checked[path] = version


def _download_and_record(
    url: str, path: Path, size: int | None, sha256: str, transfer: Transfer | None
) -> None:
    known = read_lock().get(url)
    if known is not None:
        size, sha256 = known.size, known.sha256
    try:
        digest = download(url, path, size=size, sha256=sha256, transfer=transfer)
    except WrongFile as error:
        if known is None:
            raise
        raise UserError(
            f"{error}. Size and hash were recorded at an earlier download: if the authors have replaced the file and "
            f"you trust it, remove its line from {lock_file()}"
        ) from error
    logger.info("downloaded %s to %s", url, path)
    if known is None:
        try:
            add_to_lock(url, HashRecord(path.stat().st_size, digest))
        except UserError:
            path.unlink()  # without a record, a later download would not be checked
            raise


def read_lock() -> dict[str, HashRecord]:
    """URL -> recorded size and hash."""
    path = lock_file()
    if not path.exists():
        return {}
    what = f'{path} is not a lock file ({{"URL": {{"size": ..., "sha256": ...}}}}); correct or delete it'
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    with malformed(what):
        return {url: HashRecord(int(facts["size"]), str(facts["sha256"])) for url, facts in content.items()}


def add_to_lock(url: str, record: HashRecord) -> None:
    """Add the record of one file, protected against concurrent writes."""
    path = lock_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(str(path.with_name(f".{path.name}"))):
            write_lock(read_lock() | {url: record}, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}), so the hash of {url} cannot be recorded; "
            "MODIST_DET_LOCK names another file"
        ) from error


def write_lock(records: dict[str, HashRecord], path: Path) -> None:
    """Write ``records`` as a lock file, sorted by URL."""
    content = {url: vars(record) for url, record in sorted(records.items())}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
