"""Label Studio: JSON of tasks with ``videorectangle`` regions (its ``Video`` and ``VideoRectangle`` tags)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import write_json
from ...utils.json_reading import malformed, read_json
from .images import video_name
from .tracks import AnnotatedTrack, Shape, Sizes, TrackAnnotations, interpolate_shapes, runs_of, unknown_size

__all__ = ["read_label_studio", "write_label_studio"]

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
_ID = re.compile(r"track(-?\d+)\.\d+$")  # ids of regions that are parts of one track
_CHOICES = ("choices", "labels", "taxonomy")


def read_label_studio(path: Path, sizes: Sizes = unknown_size) -> TrackAnnotations:
    """Read Label Studio's JSON export. Boxes between keyframes are interpolated; frames count from 1 in the file.

    A track's label is the first of its region's labels. Further labels, and choices of the region, are attributes: of
    one choice, the name of its tag and the choice; of several, each of them with "true". The video is the file that
    the task names, without the prefix of an upload.

    Args:
        sizes: gives the size of a video; boxes in the file are in percent.

    Raises:
        UserError: the file is malformed; the message has task and region.
    """
    content = read_json(path)
    videos: dict[str, VideoSize] = {}
    tracks: list[AnnotatedTrack] = []
    with malformed(f"{path} is no JSON of Label Studio's tasks"):
        tasks = [dict(task) for task in content]
    for position, task in enumerate(tasks):
        where = f"{path}, task {task.get('id', f'number {position + 1}')}"
        with malformed(where):
            name = _video(task["data"], where)
            regions = _regions(task, where)
            if name in videos:
                raise UserError(f"{where}: another task is of video {name}, too; export one of them")
            size = videos[name] = sizes(name)
            parts = [_ID.match(str(region.get("id", ""))) for region in regions]
            taken = {int(part[1]) for part in parts if part}
            free = (number for number in itertools.count(1) if number not in taken)
            same_id: dict[Any, list[Any]] = {}
            for region in regions:
                same_id.setdefault(region.get("id"), []).append(region)
            for number, region in enumerate(regions):
                if str(region["type"]).lower() == "videorectangle":
                    here = f"{where}, region {region.get('id', number)}"
                    with malformed(here):
                        values = region["value"]
                        frames = int(values.get("framesCount") or size.num_frames)
                        if frames and values.get("duration"):
                            videos[name] = size._replace(
                                num_frames=frames, fps=frames / float(values["duration"])
                            )
                        labels, texts = _labels(region, same_id[region["id"]] if "id" in region else [])
                        shapes = list(_shapes(values["sequence"], size, texts, here))
                    part = parts[number]
                    track_number = int(part[1]) if part else next(free)
                    tracks.append(interpolate_shapes(name, track_number, labels, shapes, here, frames))
    return TrackAnnotations(videos, _joined([track for track in tracks if len(track.frames)], path))


def _video(data: Mapping[str, Any], where: str) -> str:
    """The name of the video among a task's values."""
    paths = [
        v
        for k, v in data.items()
        if isinstance(v, str) and (k == "video" or video_name(v) != v.split("/")[-1])
    ]
    if len(paths) != 1:
        raise UserError(
            f"{where}: data must name one video, as 'video' or as a video file (it has {', '.join(data)})"
        )
    return _UPLOAD.sub("", video_name(re.split(r"[?&]d=", paths[0])[-1]))


def _regions(task: Mapping[str, Any], where: str) -> list[Any]:
    """What was annotated, otherwise what was predicted."""
    done = [entry for entry in task.get("annotations") or () if not entry.get("was_cancelled")]
    several = done or list(task.get("predictions") or ())
    if len(several) > 1:
        raise UserError(f"{where} has {len(several)} annotations; keep one of them")
    return list(several[0]["result"]) if several else []


def _labels(region: Mapping[str, Any], same_id: list[Any]) -> tuple[str, dict[str, str]]:
    """Label and attributes of a region; those of other tags are entries with its id, ``same_id``."""
    labels = [str(label) for label in region["value"].get("labels") or ()]
    texts = dict.fromkeys(labels[1:], "true")
    for other in same_id:
        kind = str(other["type"]).lower()
        if other is not region and kind in _CHOICES:
            chosen = [
                str(choice[-1] if isinstance(choice, list) else choice) for choice in other["value"][kind]
            ]
            if kind == "labels":
                labels += chosen[:1]
                chosen = chosen[1:]
            texts |= (
                {str(other["from_name"]): chosen[0]} if len(chosen) == 1 else dict.fromkeys(chosen, "true")
            )
    return (labels[0] if labels else "person"), texts


def _shapes(
    sequence: list[Mapping[str, Any]], size: VideoSize, texts: Mapping[str, str], where: str
) -> Iterator[Shape]:
    frames = {int(entry["frame"]) for entry in sequence}
    for entry in sequence:
        frame = int(entry["frame"])
        if float(entry.get("rotation") or 0):
            raise UserError(
                f"{where}, frame {frame}: the box is rotated; only upright boxes are read, so set it to 0"
            )
        x, y, width, height = (float(entry[side]) for side in ("x", "y", "width", "height"))
        scale = np.array([size.width, size.height] * 2) / 100
        box = (np.array([x, y, x + width, y + height]) * scale).tolist()
        yield Shape(frame - 1, box, texts, False, not entry.get("auto", False))
        if not entry.get("enabled", True) and frame + 1 not in frames:
            yield Shape(frame, box, texts, True)


def _joined(tracks: list[AnnotatedTrack], path: Path) -> list[AnnotatedTrack]:
    """Parts of one track as one.

    Raises:
        UserError: two parts are at one frame.
    """
    groups: dict[tuple[str, int, str], list[AnnotatedTrack]] = {}
    for track in tracks:
        groups.setdefault((track.video, track.number, track.label), []).append(track)
    joined = []
    for (video, number, label), parts in groups.items():
        parts.sort(key=lambda part: int(part.frames[0]))
        for first, second in itertools.pairwise(parts):
            if second.frames[0] <= first.frames[-1]:
                raise UserError(
                    f"{path}: two regions track{number} of video {video} are both there at frame "
                    f"{second.frames[0] + 1}; end one before the other begins"
                )
        names = dict.fromkeys(name for part in parts for name in part.attributes)
        joined.append(
            AnnotatedTrack(
                video,
                number,
                label,
                np.concatenate([part.frames for part in parts]),
                np.concatenate([part.boxes for part in parts]),
                np.concatenate([part.drawn for part in parts]),
                {n: sum((p.attributes.get(n, ("",) * len(p.frames)) for p in parts), ()) for n in names},
            )
        )
    return joined


def write_label_studio(path: Path, annotations: TrackAnnotations) -> None:
    """Write tasks with predictions, for *Import*: a labeling setup with a ``Video``, a ``VideoRectangle`` named
    ``box``, ``Labels``, and ``Choices`` for each region named as the attributes shows them.

    Regions have the same attributes throughout, so a track is one region for each part in which they do not change.

    Raises:
        UserError: the size or frame rate of a video is unknown.
    """
    tasks = []
    for video, size in annotations.videos.items():
        if not (size.width and size.height and size.fps):
            raise UserError(
                f"the size or frame rate of video {video} is unknown, but Label Studio needs both"
            )
        own = [track for track in annotations.tracks if track.video == video]
        result = [region for track in own for region in _parts(track, size)]
        prediction = {"model_version": "modist_det", "result": result}
        tasks.append({"data": {"video": f"{video}.mp4"}, "predictions": [prediction]})
    write_json(path, tasks)


def _parts(track: AnnotatedTrack, size: VideoSize) -> Iterator[dict[str, Any]]:
    rows = list(zip(*track.attributes.values(), strict=True)) or [()] * len(track.frames)
    count = 0
    for run in runs_of(track.frames):
        starts = [r for r in range(run.start, run.stop) if r == run.start or rows[r] != rows[r - 1]]
        for start, stop in zip(starts, [*starts[1:], run.stop], strict=True):
            about = {"id": f"track{track.number}.{count}", "to_name": "video", "origin": "prediction"}
            count += 1
            keys = [r for r in range(start, stop) if r in (start, stop - 1) or track.drawn[r]]
            facts = {"framesCount": size.num_frames, "duration": size.num_frames / size.fps}
            value = {**facts, "sequence": [_keyframe(track, r, size, r < stop - 1) for r in keys]}
            yield {
                **about,
                "from_name": "box",
                "type": "videorectangle",
                "value": {**value, "labels": [track.label]},
            }
            for name, text in zip(track.attributes, rows[start], strict=True):
                if text:
                    yield {**about, "from_name": name, "type": "choices", "value": {"choices": [text]}}


def _keyframe(track: AnnotatedTrack, row: int, size: VideoSize, enabled: bool) -> dict[str, Any]:
    x1, y1, x2, y2 = (track.boxes[row] / np.array([size.width, size.height] * 2) * 100).tolist()
    frame = int(track.frames[row])
    facts = {"frame": frame + 1, "time": frame / size.fps, "enabled": enabled, "rotation": 0}
    if not track.drawn[row]:
        facts["auto"] = True
    return {**facts, "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
