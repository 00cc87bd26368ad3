"""PyTorch's files, zip archives or older, checked before PyTorch reads them.

PyTorch looks at no checksum, and allocates what a file claims to need.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path

from .pickle_check import TooMuch, check_pickle, memory_allowance

__all__ = ["check_archive", "check_legacy_file"]

_BLOCK = 1 << 20
# Magic number, version, facts about the machine, the content, names of storages.
_PICKLES_OF_LEGACY_FILES = 5


def check_archive(path: Path) -> None:
    """Read each entry of a zip archive against its CRC, and follow the pickle in it.

    Raises:
        TooMuch: it would need far more memory or time than a file of its size may.
        Exception: it is damaged.
    """
    allowance = memory_allowance(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > allowance:
            raise TooMuch(f"unpacked it has {size:,} bytes")
        if len({entry.filename for entry in entries}) < len(entries):
            raise zipfile.BadZipFile("two entries have the same name")
        for entry in entries:
            # torch.serialization.set_crc32_options(False) leaves out the checksums of a file: then they are 0.
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
    """As :func:`check_archive`, of what ``torch.save`` wrote before it wrote zip archives; these have no checksums."""
    allowance = memory_allowance(path.stat().st_size)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in range(_PICKLES_OF_LEGACY_FILES):
            check_pickle(content, allowance)  # type: ignore[arg-type]
