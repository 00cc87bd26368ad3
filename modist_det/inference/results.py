"""Results of a video, and their files: JSON, AVA csv, COCO-style video JSON; see docs/RESULT_FILES.md.

A writer stores keyframes and tubes on disk as they arrive, so memory use does not depend on the length of the run. The
complete file appears when the ``with`` block ends without an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..formats.ava.files import detection_lines
from ..formats.ava.tables import BoxTable, KeyTable
from ..structures.actions import (
    ActionSegment,
    ClipActions,
    KeyframeActions,
    PersonBoxes,
    Tube,
    VideoHeader,
)
from ..structures.class_facts import FIRST_ID
from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.json_reading import malformed
from ..utils.json_reading import read_json as read_any_json
from .result_values import check_frame_size, class_names_of, finite, rounded, rounded_number, score_table

__all__ = [
    "FORMAT",
    "ActionSegment",
    "ClipActions",
    "CocoWriter",
    "CsvWriter",
    "JsonWriter",
    "KeyframeActions",
    "PersonBoxes",
    "ResultWriter",
    "Tube",
    "VideoActions",
    "VideoHeader",
    "parse_result",
    "person_table",
    "read_json",
    "to_instances",
]

FORMAT = "modist_det.video_actions/1"


class ResultWriter:
    """Base class: writes a temporary file that becomes ``path`` when the block ends."""

    def __init__(self, path: str | os.PathLike, header: VideoHeader) -> None:
        self.path = Path(path)
        self.header = header
        self._out: TextIO

    def __enter__(self) -> ResultWriter:
        self._stack = contextlib.ExitStack()
        with self._stack:
            temporary = self._stack.enter_context(atomic_path(self.path))
            self._out = self._stack.enter_context(temporary.open("w", encoding="utf-8", newline="\n"))
            self.begin()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def begin(self) -> None:
        """Write the header, before the first keyframe."""

    def keyframe(self, keyframe: KeyframeActions) -> None:
        """Add the next keyframe, in order of time."""

    def tube(self, tube: Tube) -> None:
        """Add a tube or a part of one."""

    def finish(self, duration: float, num_frames: int) -> None:
        """Write the end of the file; the last call inside the block."""


class JsonWriter(ResultWriter):
    """Writes all results as JSON, one keyframe or tube per line."""

    def begin(self) -> None:
        header = self.header
        facts = {
            "format": FORMAT,
            "video": header.video,
            "width": header.width,
            "height": header.height,
            "model": header.model,
            "person_detector": header.person_detector,
            "classes": [
                {"id": number, "name": name}
                | ({"type": header.class_types[number]} if number in header.class_types else {})
                | ({"draw_score": header.draw_scores[number]} if number in header.draw_scores else {})
                for number, name in header.class_names.items()
            ],
        }
        self._out.write(json.dumps(facts, ensure_ascii=False)[:-1] + ',\n"keyframes": [')
        # Tubes arrive between keyframes, but are stored in a separate list.
        self._tubes = self._stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        self._keyframe_mark = self._tube_mark = "\n"

    def keyframe(self, keyframe: KeyframeActions) -> None:
        people = [
            {"track_id": track, "box": box, "person_score": person, "scores": scores}
            for track, box, person, scores in zip(
                keyframe.track_ids.tolist(),
                rounded(keyframe.boxes),
                rounded(keyframe.person_scores),
                rounded(keyframe.scores),
                strict=True,
            )
        ]
        self._out.write(
            self._keyframe_mark + json.dumps({"second": rounded_number(keyframe.second), "people": people})
        )
        self._keyframe_mark = ",\n"

    def tube(self, tube: Tube) -> None:
        names = self.header.class_names
        content = {
            "track_id": tube.track_id,
            "start": rounded_number(tube.start),
            "end": rounded_number(tube.end),
            "actions": [
                {
                    "id": segment.action,
                    "name": names[segment.action],
                    "start": rounded_number(segment.start),
                    "end": rounded_number(segment.end),
                    "score": rounded_number(segment.score),
                }
                for segment in tube.actions
            ],
            "times": rounded(tube.times),
            "boxes": rounded(tube.boxes),
        }
        self._tubes.write(self._tube_mark + json.dumps(content, ensure_ascii=False))
        self._tube_mark = ",\n"

    def finish(self, duration: float, num_frames: int) -> None:
        self._out.write('\n],\n"tubes": [')
        self._tubes.seek(0)
        for line in self._tubes:
            self._out.write(line)
        self._out.write(f'\n],\n"duration": {rounded_number(duration)}, "num_frames": {num_frames}}}\n')


class CsvWriter(ResultWriter):
    """Writes AVA's csv of detections: a row per person and class of a keyframe."""

    def __init__(self, path: str | os.PathLike, header: VideoHeader, first_second: float = 0.0) -> None:
        super().__init__(path, header)
        self.first_second = first_second

    def keyframe(self, keyframe: KeyframeActions) -> None:
        people, classes = keyframe.scores.shape
        table = _table(
            self.header.video,
            round(keyframe.second + self.first_second, 6),
            np.repeat(np.clip(keyframe.boxes, 0, 1), classes, axis=0),
            np.tile(np.fromiter(self.header.class_names, np.int32, classes), people),
            keyframe.scores.ravel(),
        )
        self._out.writelines(detection_lines(table))


class CocoWriter(ResultWriter):
    """Writes one annotation per action of a tube, with its boxes over time."""

    def begin(self) -> None:
        categories = [{"id": number, "name": name} for number, name in self.header.class_names.items()]
        self._out.write(f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"annotations": [')
        self._count = 0

    def tube(self, tube: Tube) -> None:
        size = np.array([self.header.width, self.header.height] * 2)
        for segment in tube.actions:
            inside = (tube.times >= segment.start) & (tube.times <= segment.end)
            corners = tube.boxes[inside] * size
            self._count += 1
            content = {
                "id": self._count,
                "video_id": 1,
                "category_id": segment.action,
                "track_id": tube.track_id,
                "score": rounded_number(segment.score),
                "start": rounded_number(segment.start),
                "end": rounded_number(segment.end),
                "times": rounded(tube.times[inside]),
                "bboxes": rounded(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])),
            }
            self._out.write(("\n" if self._count == 1 else ",\n") + json.dumps(content))

    def finish(self, duration: float, num_frames: int) -> None:
        video = {
            "id": 1,
            "name": self.header.video,
            "width": self.header.width,
            "height": self.header.height,
            "length": num_frames,
            "duration": rounded_number(duration),
        }
        self._out.write(f'\n],\n"videos": [{json.dumps(video, ensure_ascii=False)}]}}\n')


def person_table(video: str, second: float, boxes: Iterable, scores: Iterable) -> BoxTable:
    """The people of one keyframe as rows of AVA's person-box csv (without actions)."""
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    return _table(video, second, array, np.full(len(array), -1, np.int32), np.asarray(scores, np.float64))


def _table(video: str, second: float, boxes: Any, action: Any, score: Any) -> BoxTable:
    count = len(action)
    empty = np.zeros(0)
    return BoxTable(
        path="",
        videos=(video,),
        video=np.zeros(count, np.int32),
        second=np.full(count, float(second)),
        boxes=boxes,
        action=action,
        score=score,
        person=np.full(count, -1, np.int32),
        line=np.zeros(count, np.int64),
        keyframes=KeyTable("", (video,), empty.astype(np.int32), empty, empty.astype(np.int64)),
    )


@dataclass(frozen=True, eq=False)
class VideoActions:
    """Results of one video.

    Attributes:
        header: facts and class names.
        keyframes: in order of time, including those without people.
        tubes: sorted by their end.
        duration: seconds of video that were read.
        num_frames: frames that were read.
    """

    header: VideoHeader
    keyframes: tuple[KeyframeActions, ...]
    tubes: tuple[Tube, ...]
    duration: float
    num_frames: int

    def to_json(self, path: str | os.PathLike) -> None:
        """Write all results as JSON, to be read by :meth:`from_json`. Schema: docs/RESULT_FILES.md."""
        self._write(JsonWriter(path, self.header))

    def to_csv(self, path: str | os.PathLike, first_second: float = 0.0) -> None:
        """Write the keyframes' scores as AVA's csv of detections, the input of ``tools/evaluate_ava.py``.

        Args:
            first_second: annotated second of the video's first frame.
        """
        self._write(CsvWriter(path, self.header, first_second))

    def to_coco(self, path: str | os.PathLike) -> None:
        """Write the tubes' actions as COCO-style video JSON: videos, categories, annotations with boxes over time."""
        self._write(CocoWriter(path, self.header))

    @classmethod
    def from_json(cls, path: str | os.PathLike) -> VideoActions:
        """Read a file of :meth:`to_json`. Its numbers are rounded to six digits.

        Raises:
            UserError: the file is missing or has another format.
        """
        return read_json(Path(path))

    def _write(self, writer: ResultWriter) -> None:
        with writer:
            for keyframe in self.keyframes:
                writer.keyframe(keyframe)
            for tube in self.tubes:
                writer.tube(tube)
            writer.finish(self.duration, self.num_frames)


def read_json(path: Path) -> VideoActions:
    """See :meth:`.VideoActions.from_json`."""
    return parse_result(read_any_json(path), path)


def parse_result(content: Any, path: Path) -> VideoActions:
    """Parse the JSON content of ``path``.

    Raises:
        UserError: it has another format.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a result file: its 'format' is not {FORMAT!r}")
    with malformed(f"{path} is not of format {FORMAT}"):
        return _parse(content)


def _parse(content: dict[str, Any]) -> VideoActions:
    names = class_names_of(content["classes"], FIRST_ID["detection"])
    check_frame_size(content)
    header = VideoHeader(
        content["video"],
        int(content["width"]),
        int(content["height"]),
        names,
        content["model"],
        content["person_detector"],
        {int(entry["id"]): str(entry["type"]) for entry in content["classes"] if "type" in entry},
        {
            int(entry["id"]): finite("a draw_score", entry["draw_score"])
            for entry in content["classes"]
            if "draw_score" in entry
        },
    )
    keyframes = tuple(
        KeyframeActions(
            second=finite("a second", entry["second"]),
            boxes=_boxes([person["box"] for person in entry["people"]]),
            person_scores=score_table([person["person_score"] for person in entry["people"]]),
            track_ids=np.array([person["track_id"] for person in entry["people"]], np.int64),
            scores=score_table([person["scores"] for person in entry["people"]], len(names)),
        )
        for entry in content["keyframes"]
    )
    tubes = tuple(
        Tube(
            track_id=int(entry["track_id"]),
            times=_times(entry["times"]),
            boxes=_boxes(entry["boxes"]),
            actions=tuple(_segment(segment, names) for segment in entry["actions"]),
        )
        for entry in content["tubes"]
    )
    if any(len(tube.times) != len(tube.boxes) for tube in tubes):
        raise ValueError("a tube has not one box for each of its times")
    duration = finite("its duration", content["duration"])
    return VideoActions(header, keyframes, tubes, duration, int(content["num_frames"]))


def _segment(content: dict[str, Any], names: dict[int, str]) -> ActionSegment:
    numbers = [finite(f"{name} of an action", content[name]) for name in ("start", "end", "score")]
    if content["id"] not in names:
        raise ValueError(f"an action has class id {content['id']!r}, which is not among its classes")
    return ActionSegment(int(content["id"]), *numbers)


def _times(values: list) -> Any:
    times = np.array(values, np.float64)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("the times of a tube are not ascending numbers, or there are none")
    return times


def _boxes(values: list) -> Any:
    """float32 (N, 4). A tracker may extend a box beyond the edge; coordinates far outside are pixels."""
    boxes = np.array(values, np.float32)
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError("a box has not four numbers")
    wrong = ~((boxes >= -1) & (boxes <= 2)).all(axis=1) | (boxes[:, :2] > boxes[:, 2:]).any(axis=1)
    for box in boxes[wrong].tolist():  # NaN is neither above nor below
        raise ValueError(f"box {box} is inverted, not finite, or not in fractions of the frame")
    return boxes


def to_instances(keyframe: KeyframeActions, header: VideoHeader) -> Any:
    """Convert a keyframe to detectron2's ``Instances``, for its ``Visualizer``.

    Fields: ``pred_boxes`` (pixels), ``scores`` (N,) and ``pred_classes`` (N,) of the best action, as an index into
    ``header.class_names``; ``action_scores`` (N, C), ``person_scores`` (N,), ``track_ids`` (N,).

    Raises:
        UserError: detectron2 is not installed.
    """
    import torch

    from ..integrations.detectron2 import action_instances

    instances = action_instances(
        torch.from_numpy(keyframe.boxes), torch.from_numpy(keyframe.scores), (header.height, header.width)
    )
    instances.person_scores = torch.from_numpy(keyframe.person_scores)
    instances.track_ids = torch.from_numpy(keyframe.track_ids)
    return instances
