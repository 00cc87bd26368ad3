"""CVAT for images 1.1: XML with an ``image`` for each frame and a ``box`` for each person in it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.json_reading import malformed
from .cvat import (
    add_element,
    attribute_text,
    box_shape,
    corners_of,
    parse_xml,
    video_sizes,
    whole_number,
    write_xml,
)
from .images import FrameImages, frame_images, texts_at, track_number
from .tracks import TrackAnnotations

__all__ = ["read_cvat_images", "write_cvat_images"]


def read_cvat_images(path: Path) -> TrackAnnotations:
    """Read "CVAT for images 1.1". Boxes are interpolated between annotated images that have no image between them.

    The frame of an image is the last number in its name. Its video is its folder, otherwise the task's source file. A
    box says who it is by its ``group_id`` or an attribute ``track_id``, ``track``, ``person_id`` or ``id``.

    Raises:
        UserError: the file is of another kind or malformed; the message has image and box.
    """
    root = parse_xml(path)
    if root.find("track") is not None:
        raise UserError(
            f"{path} has tracks; export the task as CVAT for video 1.1, or read it as such (--format cvat)"
        )
    tasks = list(video_sizes(root, path))
    source = tasks[0] if len(tasks) == 1 else ""
    videos: dict[str, VideoSize] = {}
    found = FrameImages(path)
    for position, image in enumerate(root.iter("image")):
        where = f"{path}, image {image.get('id', f'number {position + 1}')}"
        file_name = attribute_text(image, "name", where)
        with malformed(where):
            name, frame = found.place(file_name, "" if "/" in file_name else source)
        size = VideoSize(*(whole_number(image, key, where) for key in ("width", "height")))
        if videos.setdefault(name, size) != size:
            raise UserError(f"{where}: the size differs from other images of video {name}")
        found.add_image(name, frame, where)
        for element in image:
            if element.tag == "tag":
                continue
            if element.tag != "box":
                raise UserError(
                    f"{where} has a <{element.tag}>; only boxes are read, so convert or delete it"
                )
            here = f"{where}, a box of {attribute_text(element, 'label', where)}"
            shape = box_shape(element, frame, here)
            texts = dict(shape.attributes)
            number = (
                whole_number(element, "group_id", here)
                if "group_id" in element.attrib
                else track_number(texts, here)
            )
            found.add_box(name, number, element.attrib["label"], shape._replace(attributes=texts))
    return TrackAnnotations(videos, found.tracks())


def write_cvat_images(path: Path, annotations: TrackAnnotations) -> None:
    """Write "CVAT for images 1.1" with an image for each frame; ``group_id`` says who a box shows."""
    root = ElementTree.Element("annotations")
    add_element(root, "version", "1.1")
    for number, (video, frame, shown) in enumerate(frame_images(annotations)):
        size = annotations.videos[video]
        facts = {"id": str(number), "name": f"{video}/{frame:06d}.jpg"}
        image = ElementTree.SubElement(
            root, "image", {**facts, "width": str(size.width), "height": str(size.height)}
        )
        for track, row in shown:
            facts = {"label": track.label, "source": "auto", "occluded": "0", **corners_of(track, row)}
            box = ElementTree.SubElement(
                image, "box", {**facts, "z_order": "0", "group_id": str(track.number)}
            )
            for name, value in texts_at(track, row).items():
                add_element(box, "attribute", value).set("name", name)
    write_xml(path, root)
