"""The file format for the motion maps of a video: gray JPEG images, followed by a table.

::

    magic                  8 bytes
    image 0, 1, ...        JPEG, gray; the channels of a map are stacked vertically
    table                  uint32 (N, 2), little endian: length in bytes and CRC-32 of each image
    description            JSON, the fields of MapFileInfo
    tail                   lengths of table and description (uint64 each), their CRC-32 (uint32), magic

Maps can be read individually, truncated files are recognized by the missing tail, and each image is verified when it is
read.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..utils.errors import UserError
from ..utils.files import atomic_path
from .maps import MOTION_KINDS

__all__ = ["DEFAULT_QUALITY", "MapFile", "MapFileError", "MapFileInfo", "write_map_file"]

FORMAT_VERSION = 1

# JPEG quality. On real clips, the mean error is 0.4 of 255; 1 % of the pixels are off by more than 3, none by more than
# 20. A map of 170x128 pixels takes 1.4 to 2.6 kB and 0.05 ms to decode. Lossless formats (FFV1, PNG) take 1.6 to 3
# times the space and 4 to 15 times as long. H.264 takes half the space but 8 times as long, and more with random
# access.
DEFAULT_QUALITY = 90

_MAGIC = b"MOTION\r\n"  # text-mode transfers would change it
_TAIL = struct.Struct("<QQI8s")


class MapFileError(UserError):
    """A map file cannot be used; the message says why and what to do."""

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"motion maps {self.path}: {reason}; make them again with tools/extract_motion.py")

    def __reduce__(self) -> tuple[type[MapFileError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses from a worker process


@dataclass(frozen=True)
class MapFileInfo:
    """Description of a map file.

    Attributes:
        kind: a name in ``MOTION_KINDS``.
        channels, height, width: shape of a map.
        num_frames: number of maps, one per frame of the video.
        rate: frame rate of the video as a fraction: ``"30000/1001"``.
        gap_seconds, short_side, max_frame_side: as in ``MotionReader``.
        estimator: ``repr`` of the flow estimator, "" if there was none.
        quality: JPEG quality.
        reference_side: as in ``MotionReader``; 0 in files of earlier releases, which do not have it.
        limit: as in ``MotionReader``; that of the kind in files of earlier releases.
        source: description of the video, compared to find out whether it has changed.
    """

    kind: str
    channels: int
    height: int
    width: int
    num_frames: int
    rate: str
    gap_seconds: float
    short_side: int | None
    max_frame_side: int
    estimator: str
    quality: int
    source: str
    reference_side: int = 0
    limit: float = 0.0


def write_map_file(path: str | os.PathLike, info: MapFileInfo, parts: Iterable[Tensor]) -> int:
    """Write maps, given in parts uint8 (T, C, H, W), atomically.

    Returns:
        The number of bytes written.

    Raises:
        ValueError: the maps do not fit ``info``.
    """
    shape = (info.channels, info.height, info.width)
    table: list[tuple[int, int]] = []
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC)
        for maps in parts:
            if maps.dtype != torch.uint8 or maps.shape[1:] != shape:
                raise ValueError(f"maps are uint8 (T, *{shape}), not {maps.dtype} {tuple(maps.shape)}")
            for image in maps.reshape(len(maps), -1, info.width).contiguous().numpy():
                encoded, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, info.quality])
                assert encoded
                data = buffer.tobytes()
                table.append((len(data), zlib.crc32(data)))
                file.write(data)
        if len(table) != info.num_frames:
            raise ValueError(f"there are {len(table)} maps instead of {info.num_frames}")
        rows = np.array(table, dtype="<u4").tobytes()
        description = json.dumps({"version": FORMAT_VERSION, **asdict(info)}).encode()
        file.write(rows + description)
        file.write(_TAIL.pack(len(rows), len(description), zlib.crc32(rows + description), _MAGIC))
        return file.tell()


class MapFile(contextlib.AbstractContextManager):
    """An open map file.

    Raises:
        MapFileError: the file is missing, truncated, damaged, of another version or another kind of file; or, from
            :meth:`read` and :meth:`verify`, an image is damaged.

    Example::

        with MapFile("motion/clip.mp4.motion") as file:
            maps = file.read([0, 4, 8])  # uint8 (3, C, H, W)
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise MapFileError(path, error.strerror or str(error)) from error
        try:
            self.info, self._lengths, self._checksums = self._read_table()
        except BaseException:
            self.close()
            raise
        self._starts = len(_MAGIC) + np.cumsum(self._lengths) - self._lengths

    def read(self, numbers: ArrayLike) -> Tensor:
        """Maps uint8 (T, C, H, W) by their numbers, from 0 to ``info.num_frames - 1``, in any order."""
        rows = np.asarray(numbers, dtype=np.int64)
        shape = (self.info.channels, self.info.height, self.info.width)
        maps = np.empty((len(rows), *shape), np.uint8)
        for number in np.unique(rows):
            image = cv2.imdecode(np.frombuffer(self._bytes(int(number)), np.uint8), cv2.IMREAD_GRAYSCALE)
            maps[rows == number] = np.asarray(image, dtype=np.uint8).reshape(shape)
        return torch.from_numpy(maps)

    def verify(self) -> None:
        """Check the bytes of every image.

        Raises:
            MapFileError: one is damaged.
        """
        for number in range(len(self._lengths)):
            self._bytes(number)

    def close(self) -> None:
        self._file.close()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _bytes(self, number: int) -> bytes:
        self._file.seek(self._starts[number])
        data = self._file.read(self._lengths[number])
        if zlib.crc32(data) != self._checksums[number]:
            raise MapFileError(self.path, f"map {number} is damaged")
        return data

    def _read_table(self) -> tuple[MapFileInfo, NDArray[np.int64], NDArray[np.uint32]]:
        """The verified description, and the length and checksum of each image."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        if size < len(_MAGIC) + _TAIL.size or self._file.read(len(_MAGIC)) != _MAGIC:
            raise MapFileError(self.path, "the file is empty, truncated or not a map file")
        self._file.seek(size - _TAIL.size)
        table_bytes, description_bytes, checksum, magic = _TAIL.unpack(self._file.read(_TAIL.size))
        start = size - _TAIL.size - description_bytes - table_bytes
        if magic != _MAGIC or start < len(_MAGIC):
            raise MapFileError(self.path, "the file is truncated")
        self._file.seek(start)
        footer = self._file.read(table_bytes + description_bytes)
        if zlib.crc32(footer) != checksum:
            raise MapFileError(self.path, "its table is damaged")
        description = json.loads(footer[table_bytes:])
        description.setdefault("reference_side", 0)
        if description.get("kind") in MOTION_KINDS:
            description.setdefault("limit", MOTION_KINDS[description["kind"]].limit)
        names = {field.name for field in fields(MapFileInfo)}
        if description.pop("version") != FORMAT_VERSION or description.keys() != names:
            raise MapFileError(self.path, "the file was written by another release")
        table = np.frombuffer(footer[:table_bytes], dtype="<u4").reshape(-1, 2)
        lengths = table[:, 0].astype(np.int64)
        if len(_MAGIC) + lengths.sum() != start:
            raise MapFileError(self.path, "some maps are missing")
        return MapFileInfo(**description), lengths, table[:, 1]
