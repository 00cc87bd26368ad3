"""List folders: which files are videos or images, and which entries to skip.

Hidden files and folders, and those left behind by systems (``._clip.mp4`` and ``__MACOSX`` of macOS, ``@eaDir`` of a
file server, ``.ipynb_checkpoints``, ``Thumbs.db`` ...), are always skipped. Links are followed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from .packed import packed_folder

__all__ = [
    "IMAGE_EXTENSIONS",
    "VIDEO_EXTENSIONS",
    "Source",
    "extension",
    "file_key",
    "identity",
    "is_hidden",
    "is_unknown",
    "scan",
    "walk",
    "warn_of_unknown",
]

logger = logging.getLogger(__name__)

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    ".3g2", ".3gp", ".amv", ".asf", ".avi", ".dav", ".divx", ".dv", ".dvr-ms", ".f4v", ".flv", ".gif", ".gxf",
    ".h264", ".h265", ".hevc", ".ivf", ".lrv", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg",
    ".mk3d", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm",
    ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".tp", ".trp", ".ts", ".vob", ".vro", ".webm",
    ".wmv", ".wtv", ".y4m",
])
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")  # of the frames in a folder
# Files that often lie beside videos: no warning about these.
_OTHER_KINDS = frozenset([
    *IMAGE_EXTENSIONS, ".aac", ".ass", ".bif", ".bmp", ".csv", ".db", ".doc", ".docx", ".eaf", ".flac", ".h5", ".hdf5",
    ".htm", ".html", ".info", ".ini", ".ipynb", ".json", ".jsonl", ".lock", ".log", ".lst", ".m3u", ".m4a", ".md",
    ".md5", ".motion", ".mp3", ".nfo", ".npy", ".npz", ".oga", ".ogg", ".opus", ".parquet", ".pdf", ".pickle", ".pkl",
    ".pt", ".pth", ".py", ".rst", ".sha1", ".sha256", ".sh", ".srt", ".ssa", ".sub", ".sup", ".tar", ".thm", ".tif",
    ".tiff", ".toml", ".tsv", ".txt", ".url", ".vtt", ".wav", ".webp", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
    ".zip", ".gz", ".7z", ".rar", ".tgz", ".bat", ".exe", ".svg",
])
_OF_SYSTEMS = frozenset([
    "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini",  # Windows
    "__macosx", "network trash folder", "temporary items", "icon\r",  # macOS
    "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "~snapshot",  # file servers
    "@sharebin", "@sharesnap", "#sharesnap", "thevolumesettingsfolder",
    "lost+found", "lost.dir", "found.000", "__pycache__",
])
# fmt: on
_SEPARATORS = frozenset(filter(None, (os.sep, os.altsep)))


class Source(NamedTuple):
    """A video (file or folder of frames with its ``fps``), and the file that is to be made of it."""

    video: str
    fps: float | None
    target: str


def is_hidden(name: str) -> bool:
    """Whether to skip an entry of a folder: its name begins with a dot or is that of a system file."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def extension(name: str) -> str:
    """The extension in lower case (``.mp4`` of ``clip.MP4``), or an empty string."""
    stem, _, kind = name.rpartition(".")
    return (
        f".{kind.lower()}"
        if kind and stem and stem[-1] not in _SEPARATORS and not _SEPARATORS & set(kind)
        else ""
    )


def scan(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """Iterate over the relevant entries of a folder, unordered. No file is opened (fast on network disks).

    A packed folder (:mod:`.packed`) gives the entries of the one that it was made from.

    Links that lead in a circle, or where this user may not go, are left out and named in the log.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    packed = packed_folder(folder)
    with contextlib.ExitStack() as stack:
        entries: Iterator[os.DirEntry[str]]
        if packed is not None:
            entries = cast(Iterator[os.DirEntry[str]], packed[0].entries(packed[1]))
        else:
            entries = stack.enter_context(os.scandir(os.fspath(folder)))
        for entry in entries:
            if is_hidden(entry.name):
                continue
            try:
                entry.is_dir()  # which the entry remembers
            except OSError as error:
                logger.warning("%s is left out: %s", entry.path, error.strerror or error)
            else:
                yield entry


def file_key(path: str | os.PathLike[str], status: os.stat_result) -> tuple[object, ...]:
    """A key that is equal for two paths of the same file or folder (such as links).

    Network and user-space file systems exist that know no inodes (0 for all files) or give one inode to several files:
    the first are told apart by their real paths, the others by size and time of change.
    """
    if not status.st_ino:
        return (os.path.realpath(path),)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def identity(entry: os.DirEntry[str], device: int) -> tuple[int, int]:
    """(device, inode) of an entry of a folder on ``device``; only links are looked at."""
    if entry.is_symlink():
        try:
            target = entry.stat()
            return target.st_dev, target.st_ino
        except OSError:
            pass  # a broken link: reading it will say so
    return device, entry.inode()


def walk(folder: str | os.PathLike[str]) -> Iterator[tuple[os.DirEntry[str], int]]:
    """The files in a folder and all its subfolders, each with its folder's device. Linked folders are followed.

    Each folder is visited once, by its own path rather than by that of a link, so loops of links end.

    Raises:
        OSError: ``folder`` is no folder, or cannot be read. Subfolders that cannot be read are named in the log.
    """
    visited: set[tuple[object, ...]] = set()
    key: tuple[object, ...]
    own, linked = [os.fspath(folder)], list[str]()
    while own or linked:
        place = own.pop() if own else linked.pop(0)
        try:
            if packed_folder(place) is not None:
                device, key = 0, (place,)
            else:
                status = os.stat(place)  # noqa: PTH116
                device, key = status.st_dev, file_key(place, status)
            if key in visited:
                continue
            visited.add(key)
            entries = sorted(scan(place), key=lambda entry: entry.name)
        except OSError as error:
            if place == os.fspath(folder):
                raise
            logger.warning("%s is left out: %s", place, error.strerror or error)
            continue
        for entry in entries:
            if not entry.is_dir():
                yield entry, device
            else:
                (linked if entry.is_symlink() else own).append(entry.path)


def videos_in(folder: str | os.PathLike[str]) -> list[str]:
    """Paths of the video files in a folder, without its subfolders, in natural order; warns of unknown kinds.

    Raises:
        OSError: it is no folder, or cannot be read.
    """
    files = [entry for entry in scan(folder) if not entry.is_dir()]
    warn_of_unknown(os.fspath(folder), sorted(file.path for file in files if is_unknown(file.name)))
    videos = (file for file in files if extension(file.name) in VIDEO_EXTENSIONS)
    return [file.path for file in sorted(videos, key=lambda file: natural_key(file.name))]


def natural_key(name: str) -> tuple[tuple[str, int], ...]:
    """Sort key under which numbers inside names count as numbers: ``f2.jpg`` before ``f10.jpg``."""
    return tuple((text.casefold(), int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name))


def is_unknown(name: str) -> bool:
    """Whether the ending of a file is unknown: neither a video's nor that of another known kind."""
    kind = extension(name)
    return kind not in VIDEO_EXTENSIONS and kind not in _OTHER_KINDS


def warn_of_unknown(where: str, files: Sequence[str]) -> None:
    """One line in the log about files of an unknown kind, if there are any, so that none is left out in silence."""
    if files:
        count = f"{len(files)} files are" if len(files) > 1 else "1 file is"
        text = (
            "%s: %s of an unknown kind and left out, for example %s; a list that names files with their ending can "
            "name any kind"
        )
        logger.warning(text, where, count, files[0])
