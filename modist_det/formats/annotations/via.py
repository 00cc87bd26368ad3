"""VIA (VGG Image Annotator): projects and annotations of VIA 2 (images), projects of VIA 3 (videos)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import write_json
from ...utils.json_reading import malformed, read_json
from .images import FrameImages, as_text, frame_images, texts_at, track_number, video_name
from .tracks import Shape, Sizes, TrackAnnotations, runs_of, unknown_size

__all__ = ["read_via2", "read_via3", "write_via2", "write_via3"]

logger = logging.getLogger(__name__)

_LABELS = ("label", "class")  # attributes with the class of the object
_RECTANGLE = 2  # VIA 3's numbers of shapes, types of attributes and types of files
_CHECKBOX, _TEXT = 2, 1
_VIDEO = 4


def _label(texts: dict[str, str]) -> str:
    return next((texts.pop(name) for name in _LABELS if texts.get(name)), "person")


def read_via2(path: Path) -> TrackAnnotations:
    """Read a VIA 2 project, or annotations that were exported as JSON.

    Boxes are interpolated between images that have no image between them. The frame of an image is the last number in
    its name, its video is its folder, otherwise called as the file. A region says who it is by an attribute
    ``track_id``, ``track``, ``person_id`` or ``id``, and may have a ``label``; a checkbox attribute is one for each of
    its options. Sizes and frame rates are unknown.

    Raises:
        UserError: the file is malformed; the message has image and region.
    """
    content = read_json(path)
    with malformed(f"{path} is no VIA 2 file"):
        images = dict(content.get("_via_img_metadata", content))
    found = FrameImages(path)
    videos: dict[str, VideoSize] = {}
    for key, image in images.items():
        where = f"{path}, {key!r}"
        with malformed(where):
            name, frame = found.place(str(image["filename"]))
            several = image["regions"]
            regions = list(several.values() if isinstance(several, dict) else several)
        videos[name] = VideoSize(0, 0)
        found.add_image(name, frame, where)
        for number, region in enumerate(regions):
            here = f"{where}, regions[{number}]"
            with malformed(here):
                shape, values = region["shape_attributes"], region["region_attributes"]
                if shape["name"] != "rect":
                    raise UserError(
                        f"{here} is a {shape['name']}; only rectangles are read, so redraw or delete it"
                    )
                x, y, width, height = (float(shape[side]) for side in ("x", "y", "width", "height"))
                texts: dict[str, str] = {}
                for attribute, value in values.items():
                    if isinstance(value, dict):
                        texts |= {str(option): as_text(chosen) for option, chosen in value.items()}
                    else:
                        texts[str(attribute)] = as_text(value)
            track, label = track_number(texts, here), _label(texts)
            found.add_box(name, track, label, Shape(frame, (x, y, x + width, y + height), texts))
    return TrackAnnotations(videos, found.tracks())


def write_via2(path: Path, annotations: TrackAnnotations) -> None:
    """Write a VIA 2 project with an image for each frame."""
    metadata = {}
    names: dict[str, dict[str, Any]] = {}
    for video, frame, shown in frame_images(annotations):
        file_name = f"{video}/{frame:06d}.jpg"
        regions = []
        for track, row in shown:
            x1, y1, x2, y2 = track.boxes[row].tolist()
            values = {"track_id": str(track.number), "label": track.label, **texts_at(track, row)}
            names |= {name: {"type": "text", "description": "", "default_value": ""} for name in values}
            shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            regions.append({"shape_attributes": shape, "region_attributes": values})
        # The key is name and bytes of the image; -1 bytes: unknown, as VIA writes it of images that it did not load.
        image = {"filename": file_name, "size": -1, "regions": regions, "file_attributes": {}}
        metadata[f"{file_name}-1"] = image
    project = {
        "_via_settings": {"project": {"name": path.stem}},
        "_via_img_metadata": metadata,
        "_via_attributes": {"region": names, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(metadata),
    }
    write_json(path, project)


def read_via3(path: Path, sizes: Sizes = unknown_size) -> TrackAnnotations:
    """Read a VIA 3 project of videos. Its times are those of the nearest frame.

    Boxes are interpolated between annotated times of a video that have no annotated time between them, unless a box
    has an attribute ``outside`` that is ``true``. Identity and label of a box are as for :func:`read_via2`; a checkbox
    attribute is one for each of its options. Temporal segments have no box and are left out, with a warning.

    Args:
        sizes: gives the frame rate of a video.

    Raises:
        UserError: the file is malformed; the message has the entry.
    """
    content = read_json(path)
    with malformed(f"{path} is no VIA 3 project"):
        files = {
            str(view): video_name(str(content["file"][str(entry["fid_list"][0])]["fname"]))
            for view, entry in content["view"].items()
        }
        attributes, entries = dict(content["attribute"]), dict(content["metadata"])
    videos = {name: sizes(name) for name in files.values()}
    found = FrameImages(path)
    frames: set[tuple[str, int]] = set()
    segments = 0
    for key, entry in entries.items():
        where = f"{path}, metadata {key!r}"
        with malformed(where):
            view, times, shape = str(entry["vid"]), list(entry["z"]), list(entry["xy"])
            if view not in files:
                raise UserError(
                    f"{where} is of view {view!r}, which the project does not have; export it again"
                )
            if not shape:
                segments += 1
                continue
            if int(shape[0]) != _RECTANGLE or len(times) != 1:
                raise UserError(f"{where} is no rectangle at one time of a video; redraw or delete it")
            frame = round(float(times[0]) * videos[files[view]].fps)
            x, y, width, height = map(float, shape[1:])
            texts: dict[str, str] = {}
            for number, value in entry["av"].items():
                texts |= _values(attributes[str(number)], str(value))
            outside = texts.pop("outside", "") == "true"
        name = files[view]
        if (name, frame) not in frames:
            found.add_image(name, frame, where)
            frames.add((name, frame))
        track, label = track_number(texts, where), _label(texts)
        found.add_box(name, track, label, Shape(frame, (x, y, x + width, y + height), texts, outside))
    if segments:
        logger.warning("%s: %d temporal segments have no box and are left out", path, segments)
    return TrackAnnotations(videos, found.tracks())


def _values(attribute: Mapping[str, Any], value: str) -> dict[str, str]:
    options = {str(number): str(text) for number, text in (attribute.get("options") or {}).items()}
    if int(attribute["type"]) == _CHECKBOX:
        chosen = value.split(",")
        return {text: as_text(number in chosen) for number, text in options.items()}
    return {str(attribute["aname"]): options.get(value, value)}


def write_via3(path: Path, annotations: TrackAnnotations) -> None:
    """Write a VIA 3 project, with a box in each frame.

    Raises:
        UserError: the frame rate of a video is unknown.
    """
    attributes: dict[str, str] = {}  # numbers by name
    metadata: dict[str, dict[str, Any]] = {}
    numbers = {name: str(number) for number, name in enumerate(annotations.videos, 1)}
    for track in annotations.tracks:
        size = annotations.videos[track.video]
        if not size.fps:
            raise UserError(f"the frame rate of video {track.video} is unknown, but VIA 3 stores times")
        for run in runs_of(track.frames):
            rows: list[tuple[int, int, dict[str, str]]] = [
                (row, int(track.frames[row]), {}) for row in range(run.start, run.stop)
            ]
            after = rows[-1][1] + 1
            if after < size.num_frames or not size.num_frames:
                rows.append((run.stop - 1, after, {"outside": "true"}))
            for row, frame, mark in rows:
                values = {"track_id": str(track.number), "label": track.label, **texts_at(track, row), **mark}
                x1, y1, x2, y2 = track.boxes[row].tolist()
                metadata[f"{numbers[track.video]}_{len(metadata)}"] = {
                    "vid": numbers[track.video],
                    "flg": 0,
                    "z": [frame / size.fps],
                    "xy": [_RECTANGLE, x1, y1, x2 - x1, y2 - y1],
                    "av": {
                        attributes.setdefault(name, str(len(attributes) + 1)): value
                        for name, value in values.items()
                    },
                }
    project = {
        "project": {
            "pid": "__VIA_PROJECT_ID__",
            "rev": "__VIA_PROJECT_REV_ID__",
            "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
            "pname": path.stem,
            "creator": "VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
            "created": 0,
            "vid_list": list(numbers.values()),
        },
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": {number: _text_attribute(name) for name, number in attributes.items()},
        "file": {
            number: {"fid": number, "fname": f"{name}.mp4", "type": _VIDEO, "loc": 1, "src": ""}
            for name, number in numbers.items()
        },
        "metadata": metadata,
        "view": {number: {"fid_list": [number]} for number in numbers.values()},
    }
    write_json(path, project)


def _text_attribute(name: str) -> dict[str, Any]:
    """A text attribute of boxes."""
    facts = {"aname": name, "anchor_id": "FILE1_Z1_XY1", "type": _TEXT, "desc": "", "options": {}}
    return {**facts, "default_option_id": ""}
