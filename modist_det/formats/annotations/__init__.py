"""Files of annotation tools: tracks with boxes, attributes and frame rates, read and written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...utils.errors import UserError, nearest
from ...utils.text_files import read_text
from .coco import read_coco_video, write_coco_video
from .cvat import read_cvat, write_cvat
from .cvat_images import read_cvat_images, write_cvat_images
from .label_studio import read_label_studio, write_label_studio
from .mot import read_mot, write_mot
from .tracks import (
    AnnotatedTrack,
    Shape,
    Sizes,
    TrackAnnotations,
    from_tubes,
    interpolate_shapes,
    runs_of,
    thinned,
    to_tubes,
    unknown_size,
)
from .via import read_via2, read_via3, write_via2, write_via3

__all__ = [
    "FORMATS",
    "AnnotatedTrack",
    "AnnotationFormat",
    "Shape",
    "Sizes",
    "TrackAnnotations",
    "find_format",
    "from_tubes",
    "interpolate_shapes",
    "read_annotations",
    "recognize",
    "runs_of",
    "thinned",
    "to_tubes",
    "unknown_size",
]


class AnnotationFormat(NamedTuple):
    """A reader and a writer.

    Attributes:
        read: from a path, and :data:`Sizes` if ``sized``.
        write: annotations to a path.
        suffix: ending of its files.
        signs: regular expressions that are all found in its files.
        sized: times or boxes in the file need the video's frame rate or size.
        place: where the file of a video is in a folder of exports.
    """

    read: Callable[..., TrackAnnotations]
    write: Callable[[Path, TrackAnnotations], None]
    suffix: str
    signs: tuple[str, ...]
    sized: bool = False
    place: str = "{video}{suffix}"


FORMATS = {
    "cvat-images": AnnotationFormat(
        read_cvat_images, write_cvat_images, ".xml", ("<annotations", r"<image\b", r"(?s)\A(?!.*<track\b)")
    ),
    "cvat": AnnotationFormat(read_cvat, write_cvat, ".xml", ("<annotations",)),
    "coco-video": AnnotationFormat(read_coco_video, write_coco_video, ".json", ('"images"', '"annotations"')),
    "label-studio": AnnotationFormat(
        read_label_studio, write_label_studio, ".json", (r"\A\s*\[", '"data"', '"result"'), sized=True
    ),
    "via3": AnnotationFormat(
        read_via3, write_via3, ".json", ('"metadata"', '"view"', '"attribute"'), sized=True
    ),
    "via2": AnnotationFormat(read_via2, write_via2, ".json", ('"shape_attributes"', '"region_attributes"')),
    "mot": AnnotationFormat(
        read_mot, write_mot, ".txt", (r"\A\s*\d+\s*,\s*-?\d+\s*,[-+.,\d\seE]*\Z",), place="{video}/gt/gt.txt"
    ),
}


def find_format(name: str) -> AnnotationFormat:
    """The format of this name; ``UserError`` if there is none."""
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}{nearest(name, FORMATS)} (formats are {', '.join(FORMATS)})")
    return FORMATS[name]


def recognize(path: Path) -> str:
    """The format of a file.

    Raises:
        UserError: it is none of ``FORMATS``.
    """
    text = read_text(path)
    for name, entry in FORMATS.items():
        if path.suffix.lower() == entry.suffix and all(re.search(sign, text) for sign in entry.signs):
            return name
    raise UserError(f"{path}: the format is not recognized; name it (--format {', '.join(FORMATS)})")


def read_annotations(path: Path, name: str = "", sizes: Sizes = unknown_size) -> TrackAnnotations:
    """Read an annotation file.

    Args:
        name: one of ``FORMATS`` (default: recognized).
        sizes: gives size and frame rate of a video, which some formats need.

    Raises:
        UserError: as for :func:`recognize`, there is no such format, or the file is missing or malformed.
    """
    entry = find_format(name or recognize(path))
    return entry.read(path, sizes) if entry.sized else entry.read(path)
