"""Files of annotation tools: tracks with boxes, attributes and frame rates, read and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...utils.errors import UserError, nearest
from ...utils.text_files import read_text
from .coco import read_coco_video, write_coco_video
from .cvat import read_cvat, write_cvat
from .tracks import AnnotatedTrack, Shape, TrackAnnotations, interpolate_shapes, runs_of, to_tubes

__all__ = [
    "FORMATS",
    "AnnotatedTrack",
    "AnnotationFormat",
    "Shape",
    "TrackAnnotations",
    "interpolate_shapes",
    "read_annotations",
    "recognize",
    "runs_of",
    "to_tubes",
]


class AnnotationFormat(NamedTuple):
    """A reader and a writer; files of the format end in ``suffix`` and contain all of ``signs``."""

    read: Callable[[Path], TrackAnnotations]
    write: Callable[[Path, TrackAnnotations], None]
    suffix: str
    signs: tuple[str, ...]


FORMATS = {
    "cvat": AnnotationFormat(read_cvat, write_cvat, ".xml", ("<annotations",)),
    "coco-video": AnnotationFormat(read_coco_video, write_coco_video, ".json", ('"images"', '"annotations"')),
}


def recognize(path: Path) -> str:
    """The format of a file.

    Raises:
        UserError: it is none of ``FORMATS``.
    """
    text = read_text(path)
    for name, entry in FORMATS.items():
        if path.suffix.lower() == entry.suffix and all(sign in text for sign in entry.signs):
            return name
    raise UserError(f"{path}: the format is not recognized; name it (--format {', '.join(FORMATS)})")


def read_annotations(path: Path, name: str = "") -> TrackAnnotations:
    """Read an annotation file.

    Args:
        name: one of ``FORMATS`` (default: recognized).

    Raises:
        UserError: as for :func:`recognize`, there is no such format, or the file is missing or malformed.
    """
    name = name or recognize(path)
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}{nearest(name, FORMATS)} (formats are {', '.join(FORMATS)})")
    return FORMATS[name].read(path)
