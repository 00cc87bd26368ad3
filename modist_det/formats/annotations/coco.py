"""COCO-video: ``images`` that are frames of ``videos``, and ``annotations`` with a ``track_id``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import write_json
from ...utils.json_reading import malformed, read_json
from .images import FrameImages, as_text, frame_images, texts_at
from .tracks import Shape, TrackAnnotations

__all__ = ["read_coco_video", "write_coco_video"]

# What annotation tools note about a box; these are no actions.
_NOTES = frozenset({"track_id", "keyframe", "occluded", "outside", "rotation"})


def read_coco_video(path: Path) -> TrackAnnotations:
    """Read COCO-video JSON. Boxes are interpolated between annotated images that have no image between them.

    The frame of an image is its ``frame_id`` or ``frame_index`` (from 0), otherwise the last number in its
    ``file_name``. Its video is that of its ``video_id``, otherwise the folder of its ``file_name``. Annotations have
    ``track_id`` or ``instance_id``, also among their ``attributes``.

    Raises:
        UserError: the file is malformed; the message has the entry.
    """
    content = read_json(path)
    with malformed(f"{path} is no COCO-video file"):
        names = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        listed = {int(entry["id"]): entry for entry in content.get("videos", [])}
        entries = list(content["images"]), list(content["annotations"])
    places: dict[Any, tuple[str, int]] = {}
    videos: dict[str, VideoSize] = {}
    found = FrameImages(path)
    for row, image in enumerate(entries[0]):
        where = f"{path}, images[{row}]"
        with malformed(where):
            video = listed.get(int(image.get("video_id", -1)), {})
            stated = next((int(image[key]) for key in ("frame_id", "frame_index") if key in image), None)
            name, frame = found.place(str(image["file_name"]), str(video.get("name") or ""), stated)
            places[image["id"]] = name, frame
            size = VideoSize(
                int(image["width"]),
                int(image["height"]),
                int(video.get("length", 0)),
                float(video.get("fps", 0)),
            )
        if videos.setdefault(name, size) != size:
            raise UserError(f"{where}: the size differs from other images of video {name}")
        found.add_image(name, frame, where)
    for row, entry in enumerate(entries[1]):
        where = f"{path}, annotations[{row}]"
        with malformed(where):
            image_id, category = entry["image_id"], int(entry["category_id"])
            attributes: Mapping[str, Any] = entry.get("attributes") or {}
            number = next(
                (s[k] for s in (entry, attributes) for k in ("track_id", "instance_id") if k in s), None
            )
            if number is None:
                raise UserError(f"{where} has no track_id; export tracks, not single shapes")
            if image_id not in places:
                raise UserError(f"{where}: there is no image with id {image_id!r}")
            if category not in names:
                raise UserError(f"{where}: there is no category with id {category}")
            x, y, width, height = map(float, entry["bbox"])
            texts = {str(k): as_text(v) for k, v in attributes.items() if k not in _NOTES}
            name, frame = places[image_id]
            shape = Shape(
                frame,
                (x, y, x + width, y + height),
                texts,
                bool(attributes.get("outside", False)),
                bool(attributes.get("keyframe", True)),
            )
            found.add_box(name, int(number), names[category], shape)
    return TrackAnnotations(videos, found.tracks())


def write_coco_video(path: Path, annotations: TrackAnnotations) -> None:
    """Write COCO-video JSON with an image for each frame; numbers of frames are also in ``frame_id``."""
    labels = sorted({track.label for track in annotations.tracks})
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    numbers = {name: number for number, name in enumerate(annotations.videos, 1)}
    for name, frame, shown in frame_images(annotations):
        size = annotations.videos[name]
        image = {"id": len(images) + 1, "file_name": f"{name}/{frame:06d}.jpg", "video_id": numbers[name]}
        images.append({**image, "frame_id": frame, "width": size.width, "height": size.height})
        for track, row in shown:
            x1, y1, x2, y2 = track.boxes[row].tolist()
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": len(images),
                    "category_id": labels.index(track.label) + 1,
                    "track_id": track.number,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "attributes": {**texts_at(track, row), "keyframe": bool(track.drawn[row])},
                }
            )
    videos = [
        {
            "id": numbers[name],
            "name": name,
            "width": s.width,
            "height": s.height,
            "fps": s.fps,
            "length": s.num_frames,
        }
        for name, s in annotations.videos.items()
    ]
    categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
    write_json(path, {"videos": videos, "categories": categories, "images": images, "annotations": boxes})
