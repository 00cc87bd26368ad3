"""COCO-video: ``images`` that are frames of ``videos``, and ``annotations`` with a ``track_id``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import write_json
from ...utils.json_reading import malformed, read_json
from .tracks import Shape, TrackAnnotations, interpolate_shapes

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
    frames: dict[str, set[int]] = {}
    for row, image in enumerate(entries[0]):
        with malformed(f"{path}, images[{row}]"):
            video = listed.get(int(image.get("video_id", -1)), {})
            folder = PurePosixPath(str(image["file_name"])).parent.name
            name = PurePosixPath(str(video.get("name") or folder or path.stem)).name
            name = re.sub(r"\.(avi|mkv|mov|mp4|webm)$", "", name, flags=re.IGNORECASE)
            frame = _frame(image)
            places[image["id"]] = name, frame
            size = VideoSize(
                int(image["width"]),
                int(image["height"]),
                int(video.get("length", 0)),
                float(video.get("fps", 0)),
            )
        if videos.setdefault(name, size) != size:
            raise UserError(f"{path}, images[{row}]: the size differs from other images of video {name}")
        if frame in frames.setdefault(name, set()):
            raise UserError(
                f"{path}, images[{row}]: video {name} has two images of frame {frame}; delete one"
            )
        frames[name].add(frame)
    shapes: dict[tuple[str, int, str], list[Shape]] = {}
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
            texts = {str(k): _text(v) for k, v in attributes.items() if k not in _NOTES}
            name, frame = places[image_id]
            shape = Shape(
                frame,
                (x, y, x + width, y + height),
                texts,
                bool(attributes.get("outside", False)),
                bool(attributes.get("keyframe", True)),
            )
            shapes.setdefault((name, int(number), names[category]), []).append(shape)
    tracks = []
    for (name, number, label), several in shapes.items():
        there = sorted(frames[name])
        following = dict(zip(there, there[1:], strict=False))
        own = {shape.frame for shape in several}
        # The next image does not show the track: it ends here.
        ends = [
            s._replace(frame=s.frame + 1, outside=True) for s in several if following.get(s.frame) not in own
        ]
        where = f"{path}, track {number} of video {name}"
        tracks.append(interpolate_shapes(name, number, label, [*several, *ends], where))
    return TrackAnnotations(videos, [track for track in tracks if len(track.frames)])


def _frame(image: Mapping[str, Any]) -> int:
    for key in ("frame_id", "frame_index"):
        if key in image:
            return int(image[key])
    numbers = re.findall(r"\d+", PurePosixPath(str(image["file_name"])).stem)
    if not numbers:
        raise ValueError(f"it has no frame_id, and file_name {image['file_name']!r} has no number")
    return int(numbers[-1])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_coco_video(path: Path, annotations: TrackAnnotations) -> None:
    """Write COCO-video JSON with an image for each frame; numbers of frames are also in ``frame_id``."""
    labels = sorted({track.label for track in annotations.tracks})
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    ids: dict[tuple[str, int], int] = {}
    for name, size in annotations.videos.items():
        number = len(videos) + 1
        video = {"id": number, "name": name, "width": size.width, "height": size.height}
        videos.append({**video, "fps": size.fps, "length": size.num_frames})
        last = max((int(t.frames[-1]) for t in annotations.tracks if t.video == name), default=-1)
        for frame in range(size.num_frames or last + 1):
            ids[name, frame] = len(images) + 1
            file_name = f"{name}/{frame:06d}.jpg"
            image = {"id": len(images) + 1, "file_name": file_name, "video_id": number, "frame_id": frame}
            images.append({**image, "width": size.width, "height": size.height})
    for track in annotations.tracks:
        for row, frame in enumerate(track.frames.tolist()):
            x1, y1, x2, y2 = track.boxes[row].tolist()
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": ids[track.video, frame],
                    "category_id": labels.index(track.label) + 1,
                    "track_id": track.number,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "attributes": {
                        **{attribute: values[row] for attribute, values in track.attributes.items()},
                        "keyframe": bool(track.drawn[row]),
                    },
                }
            )
    categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
    write_json(path, {"videos": videos, "categories": categories, "images": images, "annotations": boxes})
