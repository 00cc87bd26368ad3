"""The commands of ``tools/model_zoo.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..checkpoint.entry import Entry
from ..checkpoint.handlers import PREFIX, get_entry
from ..checkpoint.published_weights import ENTRIES
from ..utils.cache import HashRecord, cached_path, lock_file, read_lock, write_lock
from ..utils.download import file_sha256, why_incomplete
from ..utils.errors import UserError
from ..utils.paths import is_remote, local_path
from .page import figures_text

__all__ = ["describe", "download", "lock", "verify"]


def describe(entry: Entry) -> str:
    """All facts about an entry, one per line."""
    path = cached_path(entry.url)
    known = read_lock().get(entry.url)
    recorded = f"{known.sha256}, {known.size} bytes" if known else "not downloaded yet"
    facts = {
        "name": entry.name,
        "note": entry.note,
        "task": entry.task,
        "trained on": entry.data,
        "input": entry.input,
        "published": figures_text(entry),
        "config": f"configs/{entry.config}" if entry.config else "",
        "format": entry.format,
        "url": entry.url,
        "source": entry.source,
        "licence": entry.licence,
        "verified": "yes" if entry.verified else "no: size and content are what the source says",
        "size": str(entry.size or ""),
        "sha256": entry.sha256,
        "recorded": recorded,
        "file": f"{path} ({'in the cache' if path.is_file() else 'not in the cache'})",
    }
    return "\n".join(f"{title + ':':12}{fact}" for title, fact in facts.items() if fact)


def download(names: Sequence[str]) -> list[Path]:
    """Local files of ``names`` (entries, or paths like ``torchvision://NAME/WEIGHTS``), downloaded if necessary."""
    paths = [name if is_remote(name) else PREFIX + name for name in names]
    for path in paths:  # check all names before downloading anything
        if path.startswith(PREFIX):
            get_entry(path)
    return [Path(local_path(path)) for path in paths]


def verify(names: Sequence[str]) -> dict[str, str]:
    """Check the files of ``names``, or all files in the cache. Returns entry name -> problem (``""`` if there is none).

    A file must be complete, match the hashes of the catalogue and of its first download, and fill its network.
    """
    return {entry.name: _fault(entry) for entry in _entries(names)}


def lock(names: Sequence[str], out: Path | None = None) -> tuple[Path, int]:
    """Record the hashes of cached files, for example of files copied there by hand.

    Args:
        names: entries; by default all that are in the cache.
        out: write only these records to this file, instead of adding them to the lock file.

    Returns:
        The lock file and the number of its records.

    Raises:
        UserError: a file is missing or its hash differs from the recorded one, or the cache is empty.
    """
    entries = _entries(names)
    if not entries:
        raise UserError("no model zoo file is in the cache; download one first")
    known = read_lock()
    records = {} if out else dict(known)
    for entry in entries:
        path = cached_path(entry.url)
        if not path.is_file():
            raise UserError(f"{entry.name} is not in the cache ({path}); download it first")
        record = HashRecord(path.stat().st_size, file_sha256(path))
        if known.get(entry.url, record) != record or not record.sha256.startswith(entry.sha256):
            raise UserError(
                f"{path} differs from the recorded file; for details: python tools/model_zoo.py verify {entry.name}"
            )
        records[entry.url] = record
    path = out or lock_file()
    write_lock(records, path)
    return path, len(records)


def _entries(names: Sequence[str]) -> list[Entry]:
    if names:
        return [get_entry(name) for name in names]
    return [entry for entry in ENTRIES.values() if cached_path(entry.url).is_file()]


def _fault(entry: Entry) -> str:
    path = cached_path(entry.url)
    if not path.is_file():
        return f"not in the cache ({path})"
    if reason := why_incomplete(path):
        return f"{path} {reason}"
    digest, size = file_sha256(path), path.stat().st_size
    if not digest.startswith(entry.sha256) or (entry.size or size) != size:
        return f"{path} has SHA-256 {digest} and {size} bytes; the catalogue says {entry.sha256} {entry.size or ''}"
    known = read_lock().get(entry.url)
    if known is not None and (known.sha256, known.size) != (digest, size):
        return f"{path} has SHA-256 {digest}, but {known.sha256} was recorded at its download"
    if entry.format == "detectron2":  # needs detectron2, so loading it is not tried
        return ""
    from .zoo import build, fill

    try:
        fill(build(entry), entry, path)
    except UserError as error:
        return str(error)
    return ""
