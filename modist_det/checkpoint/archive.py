"""PyTorch's own files: checked before they are loaded, and written as a whole.

PyTorch verifies no checksums, and it allocates as much memory as a file claims to need.
"""

from __future__ import annotations

import io
import mmap
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..utils.files import atomic_path
from .pickle_check import TooMuch, check_pickle, memory_allowance

__all__ = ["check_archive", "check_legacy_file", "save_archive"]

_BLOCK = 1 << 20
# Magic number, version, system information, content, storage names.
_PICKLES_OF_LEGACY_FILES = 5


def save_archive(content: Any, path: str | os.PathLike) -> None:
    """``torch.save`` to a file that is either whole or absent.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise OSError(f"{str(error).splitlines()[0]}; the disk may be full") from error


def check_archive(path: Path) -> None:
    """Check the CRC of every entry of a zip archive, and trace its pickle without running it.

    Raises:
        TooMuch: loading would take far more memory or time than the file's size justifies.
        Exception: the archive is damaged.
    """
    allowance = memory_allowance(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > allowance:
            raise TooMuch(f"unpacked it has {size:,} bytes")
        if len({entry.filename for entry in entries}) < len(entries):
            raise zipfile.BadZipFile("two entries have the same name")
        if min((entry.header_offset for entry in entries), default=0):
            # zipfile counts from where the archive begins, torch from the beginning of the file
            raise zipfile.BadZipFile("other bytes come before the archive")
        for entry in entries:
            # After torch.serialization.set_crc32_options(False), torch writes 0 instead of checksums.
            if entry.CRC or not entry.file_size:
                with archive.open(entry) as content:
                    while content.read(_BLOCK):
                        pass
            if entry.filename.endswith("data.pkl"):
                check_pickle(io.BytesIO(_content(archive, entry)), allowance)


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        if not entry.CRC:
            file._expected_crc = None  # type: ignore[attr-defined]
        return file.read()


def check_legacy_file(path: Path) -> None:
    """Like :func:`check_archive`, for files from before ``torch.save`` wrote zip archives. They have no checksums."""
    allowance = memory_allowance(path.stat().st_size)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in range(_PICKLES_OF_LEGACY_FILES):
            check_pickle(content, allowance)  # type: ignore[arg-type]
