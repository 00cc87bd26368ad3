"""Detect files with a reliable index of frame times from their headers, without reading packets.

Such files can be seeked by time. Others may consist of several recordings whose times restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .packed import open_bytes

__all__ = ["has_sound_index"]

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def has_sound_index(path: Path, format_name: str) -> bool:
    """Whether frame times rise throughout the file, judging by its structure.

    True for mp4 and mov without fragments and with at most one edit, and for Matroska and WebM whose segment says how
    long it is and fills the file. False for all other files, which must be read through.

    Args:
        format_name: FFmpeg's, such as ``"mov,mp4,m4a,3gp,3g2,mj2"``.
    """
    try:
        with open_bytes(path) as file:
            size = file.seek(0, 2)
            if "mp4" in format_name.split(","):
                return not _has_fragments_or_cuts(file, size)
            return "matroska" in format_name.split(",") and _is_one_segment(file, size)
    except (OSError, ValueError):
        return False


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, first byte and end of the content of each box (ISO 14496-12, section 4.2)."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = end - start
        if length < header:
            return
        yield head[4:8], start + header, min(start + length, end)
        start += length


def _has_fragments_or_cuts(file: BinaryIO, size: int) -> bool:
    for kind, start, end in _boxes(file, 0, size):
        if kind == b"moof":
            return True
        if kind == b"moov" and _has_cuts(file, start, end):
            return True
    return False


def _has_cuts(file: BinaryIO, start: int, end: int) -> bool:
    """Whether a track shows more than one part of itself (an edit list, section 8.6.6)."""
    for kind, first, last in _boxes(file, start, end):
        if kind in (b"trak", b"edts"):
            if _has_cuts(file, first, last):
                return True
        elif kind == b"elst":
            file.seek(first)
            content = file.read(last - first)
            entry = 20 if content[:1] == b"\1" else 12
            time = slice(8, 16) if content[:1] == b"\1" else slice(4, 8)
            entries = [content[i : i + entry] for i in range(8, len(content) - entry + 1, entry)]
            # A media time of -1 is a pause before the first frame.
            if sum(int.from_bytes(one[time], "big", signed=True) != -1 for one in entries) > 1:
                return True
    return False


def _is_one_segment(file: BinaryIO, size: int) -> bool:
    """Whether a Matroska file is a header and a segment of known length that ends with the file, or is cut off."""
    file.seek(0)
    head = file.read(4096)
    if not head.startswith(_EBML):
        return False
    position = 4
    length, used = _ebml_length(head, position)
    position += used + length
    if head[position : position + 4] != _SEGMENT:
        return False
    length, used = _ebml_length(head, position + 4)
    unknown = length == (1 << 7 * used) - 1
    return not unknown and position + 4 + used + length >= size


def _ebml_length(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length (RFC 8794, section 4): its value and how many bytes it takes."""
    first = data[position]
    width = 9 - first.bit_length()
    if width > 8:
        raise ValueError("no length")
    value = int.from_bytes(data[position : position + width], "big")
    return value & ((1 << 7 * width) - 1), width
