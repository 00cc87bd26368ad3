"""Folders of videos that are packed into a few tar files (shards).

A packed folder looks like the folder that it was made from: ``packed/a/v.mp4`` can be listed, opened and read, although
there are only ``shards.arrow``, the index, and ``00000.tar``, ``00001.tar``, ... The index is mapped into memory, which
all processes share. A folder may stand for one on a server; its shards are fetched when they are first read.

The shards are those of webdataset: a sample is ``KEY.mp4`` with ``KEY.json``, where KEY is the video's name with its
dots written as ``%2E``.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.paths import local_path

__all__ = [
    "INDEX",
    "PackedEntry",
    "PackedFolder",
    "Part",
    "Video",
    "ffmpeg_name",
    "folder_of_url",
    "is_folder",
    "open_bytes",
    "other_shards",
    "packed_folder",
    "part_of",
    "plan_shards",
    "shards_of",
    "status",
    "write_index",
    "write_shard",
]

INDEX = "shards.arrow"
_ADDRESS = "shards.url"  # beside the index of a folder on a server: its address
_BLOCK, _FACTS = 512, 136  # bytes of a block in a tar file, and of a header's fields up to the size


class Part(NamedTuple):
    """Where a packed video is: ``size`` bytes from ``offset`` of a file."""

    shard: Path
    offset: int
    size: int


class Video(NamedTuple):
    """A video to be packed.

    Attributes:
        name: in the folder.
        path, size, changed: its file, bytes in it, and the second of its last change.
        facts: what its JSON file says.
    """

    name: str
    path: str
    size: int
    changed: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class PackedEntry:
    """What ``os.scandir`` would give for a file or subfolder of a packed folder."""

    path: str
    number: int  # of a file in the index, -1 for a folder

    @property
    def name(self) -> str:
        return self.path.rpartition(os.sep)[2]

    def is_dir(self) -> bool:
        return self.number < 0

    def is_symlink(self) -> bool:
        return False

    def inode(self) -> int:
        return self.number + 1

    def stat(self) -> os.stat_result:
        raise FileNotFoundError(self.path)


class PackedFolder:
    """The index of a packed folder.

    Args:
        path: the folder.

    Raises:
        UserError: the index is damaged, or is not one of videos.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path / INDEX))).read_all()
            # combine_chunks would copy the column out of the mapped file.
            columns = [table[name].chunk(0) for name in ("name", "shard", "offset", "size")]
        except (OSError, LookupError, pa.ArrowException) as error:
            raise UserError(
                f"{path / INDEX} is damaged or no index of packed videos ({error}); pack the videos again, or give "
                "the file another name if it is not of tools/pack_videos.py"
            ) from error
        self._names = columns[0]
        self._shard, self._offset, self._size = (column.to_numpy() for column in columns[1:])
        address = path / _ADDRESS
        self._address = address.read_text().strip() if address.is_file() else ""

    def __len__(self) -> int:
        return len(self._names)

    def _name(self, index: int) -> str:
        return os.fsdecode(self._names[index].as_py())

    def _first(self, name: str, start: int = 0) -> int:
        """The first index whose name is not before ``name``."""
        return bisect_left(range(len(self)), os.fsencode(name), start, key=lambda i: self._names[i].as_py())

    def part(self, name: str) -> Part | None:
        """Where the video of that name is; its shard is fetched if it is not here.

        Raises:
            VideoError: the shard is missing, cut off, or not the one of which the index was made.
            UserError: it cannot be fetched.
        """
        index = self._find(name)
        if index is None:
            return None
        part = Part(
            self._local_shard(int(self._shard[index])), int(self._offset[index]), int(self._size[index])
        )
        if reason := _why_unlike(part, name):
            from .errors import VideoError  # loads PyAV, which tools that only list folders do without

            raise VideoError(
                self.path / name,
                f"its shard {part.shard} {reason}; copy the packed folder again, or pack the videos again",
            )
        return part

    def size(self, name: str) -> int | None:
        """Bytes of the video of that name."""
        index = self._find(name)
        return None if index is None else int(self._size[index])

    def _find(self, name: str) -> int | None:
        index = self._first(name)
        return index if index < len(self) and self._name(index) == name else None

    def has_folder(self, name: str) -> bool:
        index = self._first(f"{name}/")
        return index < len(self) and self._name(index).startswith(f"{name}/")

    def entries(self, folder: str) -> Iterator[PackedEntry]:
        """Files and subfolders directly in ``folder`` ("": the packed folder itself)."""
        prefix = f"{folder}/" if folder else ""
        index = self._first(prefix)
        while index < len(self):
            name = self._name(index)
            if not name.startswith(prefix):
                return
            first, slash, _ = name[len(prefix) :].partition("/")
            path = str(self.path / prefix / first)
            yield PackedEntry(path, -1 if slash else index)
            index = self._first(f"{prefix}{first}0", index) if slash else index + 1  # "0" comes after "/"

    def shards(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Number of the shard of each name; -1 for names that are not here."""
        wanted = pa.array([os.fsencode(name) for name in names], self._names.type)
        place = pc.index_in(wanted, value_set=self._names).fill_null(-1).to_numpy()
        return np.where(place < 0, -1, self._shard[place])

    def _local_shard(self, number: int) -> Path:
        name = _shard_name(number)
        path = self.path / name
        if self._address and not path.is_file():
            return Path(local_path(f"{self._address}/{name}"))
        return path


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a folder, on disk or in a packed one."""
    path = Path(path)
    try:
        if path.is_dir():
            return True
        found = _packed_above(path)
    except (OSError, ValueError):
        return False
    return found is not None and found[0].has_folder(found[1])


def packed_folder(path: str | os.PathLike[str]) -> tuple[PackedFolder, str] | None:
    """The packed folder that ``path`` is, or is a subfolder of, and its name there ("": itself)."""
    path = Path(path)
    if (path / INDEX).is_file():
        return _opened(path), ""
    if os.path.exists(path):  # noqa: PTH110
        return None
    found = _packed_above(path)
    return found if found is not None and found[0].has_folder(found[1]) else None


def part_of(path: str | os.PathLike[str]) -> Part | None:
    """Where a packed video is; None for all other paths.

    Raises:
        UserError: as for :meth:`PackedFolder.part`.
    """
    if os.path.exists(path):  # noqa: PTH110
        return None
    found = _packed_above(Path(path))
    return found[0].part(found[1]) if found is not None else None


def ffmpeg_name(path: str | os.PathLike[str]) -> str:
    """What FFmpeg opens as the file ``path``."""
    # An absolute path is never taken for a protocol ("a:b.mp4").
    part = part_of(path)
    if part is None:
        return str(Path(path).absolute())
    return f"subfile,,start,{part.offset},end,{part.offset + part.size},,:{part.shard.absolute()}"


def open_bytes(path: Path) -> BinaryIO:
    """The content of a file, packed or not."""
    part = part_of(path)
    return path.open("rb") if part is None else cast(BinaryIO, io.BufferedReader(_Section(part)))


def status(path: Path) -> tuple[int, int]:
    """Size in bytes of a file, packed or not, and the time of its last change in nanoseconds.

    Raises:
        OSError: there is no such file.
    """
    try:
        stat = path.stat()
    except OSError:
        found = _packed_above(path)
        size = found[0].size(found[1]) if found is not None else None
        if size is None:
            raise
        return size, (found[0].path / INDEX).stat().st_mtime_ns if found else 0
    return stat.st_size, stat.st_mtime_ns


def shards_of(paths: Sequence[str]) -> NDArray[np.int64]:
    """A number for each video that is equal for videos of one shard; a video that is not packed has its own."""
    numbers = np.arange(len(paths)) + (1 << 40)
    folders: dict[str, tuple[PackedFolder, str] | None] = {}
    groups: dict[PackedFolder, dict[int, str]] = {}
    for i, path in enumerate(paths):
        folder, _, name = path.rpartition(os.sep)
        if folder not in folders:
            folders[folder] = packed_folder(folder)
        found = folders[folder]
        if found is not None:
            groups.setdefault(found[0], {})[i] = f"{found[1]}/{name}" if found[1] else name
    for count, (packed, names) in enumerate(groups.items()):
        rows = list(names)
        shard = packed.shards(list(names.values()))
        numbers[rows] = np.where(shard < 0, numbers[rows], shard + (count << 20))
    return numbers


def folder_of_url(url: str) -> str:
    """The local folder that stands for the packed folder at ``url``; only its index is fetched."""
    url = url.rstrip("/")
    folder = Path(local_path(f"{url}/{INDEX}")).parent
    address = folder / _ADDRESS
    if not address.is_file() or address.read_text() != url:
        with atomic_path(address) as temporary:
            temporary.write_text(url)
    return str(folder)


def plan_shards(videos: Sequence[Video], size: int) -> list[list[Video]]:
    """Divide videos, in their order, into shards of about ``size`` bytes.

    Raises:
        UserError: the names of two videos differ only in their ending, so webdataset would take them for one sample.
    """
    shards: list[list[Video]] = []
    names: dict[str, str] = {}  # by key
    room = 0
    for video in videos:
        other = names.setdefault(_sample_key(video.name)[0], video.name)
        if other != video.name:
            first, second = sorted((other, video.name))
            raise UserError(
                f"{first} and {second} differ only in their ending, and would be one sample of webdataset; rename one"
            )
        if room <= 0:
            shards.append([])
            room = size
        shards[-1].append(video)
        room -= video.size
    return shards


def other_shards(folder: Path, count: int) -> list[Path]:
    """The shards in a folder that are not among its first ``count``: those of an earlier packing."""
    names = {_shard_name(number) for number in range(count)}
    return sorted(path for path in folder.glob("*.tar") if path.stem.isdecimal() and path.name not in names)


def write_shard(folder: Path, number: int, videos: Sequence[Video]) -> list[int]:
    """Write a shard unless it is there; gives the offset of each video.

    The folder's index is removed before a shard changes, since it would lead to other bytes.

    Raises:
        UserError: a video is gone, or its size is no longer the one with which it was listed.
    """
    path = folder / _shard_name(number)
    wanted = [entry for video in videos for entry in _members(video)]
    found = _list(path) if path.is_file() else []
    if [_key(*entry) for entry in found] == [_key(*entry) for entry in wanted]:
        return [info.offset_data for info, _ in found[::2]]
    (folder / INDEX).unlink(missing_ok=True)
    offsets = []
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for i, (info, content) in enumerate(wanted):
            if i % 2:
                tar.addfile(info, io.BytesIO(content))
                continue
            _add(tar, info, videos[i // 2])
            offsets.append(tar.offset - -(-info.size // _BLOCK) * _BLOCK)
    return offsets


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, video: Video) -> None:
    try:
        file = Path(video.path).open("rb")  # noqa: SIM115  (closed below; errors of the shard's file are not its own)
    except OSError as error:
        raise UserError(f"{video.path} cannot be read: {error.strerror or error}") from error
    with file:
        try:
            tar.addfile(info, file)
        except OSError:
            if os.fstat(file.fileno()).st_size == info.size:  # otherwise the file has ended too early
                raise
        if os.fstat(file.fileno()).st_size != info.size:
            raise UserError(f"{video.path} has grown or shrunk while it was packed; run the command again")


def write_index(folder: Path, shards: Sequence[Sequence[Video]], offsets: Sequence[Sequence[int]]) -> None:
    """Write the index of a packed folder, which makes it one."""
    rows = [
        (os.fsencode(video.name), number, offset, video.size)
        for number, (videos, starts) in enumerate(zip(shards, offsets, strict=True))
        for video, offset in zip(videos, starts, strict=True)
    ]
    rows.sort()
    names, *numbers = zip(*rows, strict=True)
    kinds = (pa.int32(), pa.int64(), pa.int64())
    columns = [pa.array(names, pa.large_binary())]
    columns += [pa.array(column, kind) for column, kind in zip(numbers, kinds, strict=True)]
    table = pa.table(columns, names=["name", "shard", "offset", "size"])
    with atomic_path(folder / INDEX) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)


def _shard_name(number: int) -> str:
    return f"{number:05}.tar"


def _sample_key(name: str) -> tuple[str, str]:
    """What webdataset calls the sample of a video and, in it, the video."""
    place, _, file = name.rpartition("/")
    stem, dot, kind = file.rpartition(".")
    key = f"{place}/" * bool(place) + (stem or file).replace("%", "%25").replace(".", "%2E")
    return key, kind.lower() if dot else "bin"


def _members(video: Video) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The two files of a sample; the first one's content is the video's."""
    key, kind = _sample_key(video.name)
    text = json.dumps({"name": video.name, **video.facts}, ensure_ascii=False).encode(
        errors="surrogateescape"
    )
    found = []
    for ending, size, content in (
        (kind, video.size, b""),
        ("json", len(text), text),
    ):
        info = tarfile.TarInfo(f"{key}.{ending}")
        info.size, info.mtime = size, video.changed
        found.append((info, content))
    return found


def _list(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The files of a shard as :func:`_members` gives them; none if it is damaged."""
    try:
        with tarfile.open(path) as tar:
            return [
                (info, file.read() if i % 2 and (file := tar.extractfile(info)) else b"")
                for i, info in enumerate(tar.getmembers())
            ]
    except (tarfile.TarError, OSError, EOFError):
        return []


def _key(info: tarfile.TarInfo, content: bytes) -> tuple[str, int, float, bytes]:
    return info.name, info.size, info.mtime, content


def _why_unlike(part: Part, name: str) -> str:
    """What is wrong with a shard if a video of that name and size is not whole at its offset."""
    (info, _), _ = _members(Video(name, "", part.size, 0, {}))
    expected = info.tobuf(tarfile.PAX_FORMAT)[-_BLOCK:][:_FACTS]
    try:
        with part.shard.open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(part.offset - _BLOCK)
            found = file.read(_FACTS)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if size < part.offset + part.size:
        return f"is cut off after {size} bytes"
    return "" if found == expected else f"is not the one of which {INDEX} was made"


def _packed_above(path: Path) -> tuple[PackedFolder, str] | None:
    """The nearest packed folder above a path that does not exist, and the path's name there."""
    root = _root(path.parent)
    if root is None:
        return None
    return _opened(root), os.path.normpath(path.relative_to(root)).replace(os.sep, "/")


_roots: dict[Path, Path] = {}  # packed folder above each folder inside one


def _root(folder: Path) -> Path | None:
    place = folder
    while folder not in _roots:
        if (place / INDEX).is_file():
            _roots[folder] = place
        elif os.path.exists(place) or place == place.parent:  # noqa: PTH110  (no error for a name that is too long)
            return None
        place = place.parent
    return _roots[folder]


@lru_cache(maxsize=64)
def _open_index(path: Path, changed: int) -> PackedFolder:
    return PackedFolder(path)


def _opened(path: Path) -> PackedFolder:
    return _open_index(path, (path / INDEX).stat().st_mtime_ns)


class _Section(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, part: Part) -> None:
        self._file = part.shard.open("rb", buffering=0)
        self._start, self._size, self._place = part.offset, part.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(offset + (0, self._place, self._size)[whence], 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        length = max(min(len(buffer), self._size - self._place), 0)
        self._file.seek(self._start + self._place)
        count = self._file.readinto(memoryview(buffer)[:length]) or 0
        self._place += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
