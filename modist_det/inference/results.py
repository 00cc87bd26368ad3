"""What inference gives: who does what, where and when, as small typed objects.

Boxes are x1y1x2y2 in [0, 1] of the picture's width and height; times are seconds since the video's first frame.
Columns of ``scores`` belong to the entries of ``class_names``, in their order. :mod:`.files` writes and reads all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ActionSegment",
    "ClipActions",
    "KeyframeActions",
    "PersonBoxes",
    "Tube",
    "VideoActions",
    "VideoHeader",
    "to_instances",
]

Boxes = NDArray[np.float32]
Scores = NDArray[np.float32]


def _no_boxes() -> Boxes:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class PersonBoxes:
    """The people that a detector found in one picture.

    Attributes:
        boxes: float32 (N, 4) in [0, 1].
        scores: float32 (N,) in [0, 1].
    """

    boxes: Boxes = field(default_factory=_no_boxes)
    scores: Scores = field(default_factory=lambda: np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class ClipActions:
    """Scores of the people of one clip.

    Attributes:
        boxes: float32 (N, 4), in pixels of the clip, as given.
        scores: float32 (N, C) in [0, 1].
        class_names: C names by class id.
    """

    boxes: Boxes
    scores: Scores
    class_names: Mapping[int, str]

    def top(self, person: int, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` best actions of a person: (name, score), best first."""
        return top_actions(self.scores[person], list(self.class_names.values()), k)


@dataclass(frozen=True, eq=False)
class KeyframeActions:
    """The people of one keyframe.

    Attributes:
        second: of the keyframe.
        boxes: float32 (N, 4).
        person_scores: float32 (N,), the person detector's.
        track_ids: int64 (N,), from 1.
        scores: float32 (N, C) in [0, 1], smoothed along the track where smoothing is on.
    """

    second: float
    boxes: Boxes
    person_scores: Scores
    track_ids: NDArray[np.int64]
    scores: Scores

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class ActionSegment:
    """A stretch of time in which a person does an action: id, seconds, mean score of its keyframes."""

    action: int
    start: float
    end: float
    score: float


@dataclass(frozen=True, eq=False)
class Tube:
    """One person from coming in to going out. Very long ones are given in parts with the same ``track_id``.

    Attributes:
        track_id: from 1.
        times: float64 (M,), ascending: when the person was seen. The tube starts and ends with them.
        boxes: float32 (M, 4), where.
        actions: in order of their start.
    """

    track_id: int
    times: NDArray[np.float64]
    boxes: Boxes
    actions: tuple[ActionSegment, ...] = ()

    @property
    def start(self) -> float:
        return float(self.times[0])

    @property
    def end(self) -> float:
        return float(self.times[-1])

    def box_at(self, second: float) -> Boxes:
        """The box (4,), linear between the times at which the person was seen; the nearest one outside of them."""
        return interpolate(self.times, self.boxes, second)


@dataclass(frozen=True)
class VideoHeader:
    """What is known of a video before its first keyframe.

    Attributes:
        video: its id: the file's name without extension.
        width, height: pixels of a frame.
        class_names: name of each class id, ascending.
        model: where the action model came from.
        person_detector: likewise.
        class_types: label type, such as "PERSON_MOVEMENT", of the class ids that have one.
    """

    video: str
    width: int
    height: int
    class_names: Mapping[int, str]
    model: str = ""
    person_detector: str = ""
    class_types: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class VideoActions:
    """Everything found in one video.

    Attributes:
        header: facts and class names.
        keyframes: in order of time, those without people too.
        tubes: in order of their end.
        duration: seconds, of what was read.
        num_frames: read.
    """

    header: VideoHeader
    keyframes: tuple[KeyframeActions, ...]
    tubes: tuple[Tube, ...]
    duration: float
    num_frames: int

    def to_json(self, path: str | os.PathLike) -> None:
        """Write everything as JSON; :meth:`from_json` reads it. Schema: docs/RESULT_FILES.md."""
        from .files import JsonWriter

        self._write(JsonWriter(path, self.header))

    def to_csv(self, path: str | os.PathLike, first_second: float = 0.0) -> None:
        """Write the keyframes' scores as AVA's csv of detections, which ``tools/evaluate_ava.py`` takes.

        Args:
            first_second: what the annotation calls the video's first frame.
        """
        from .files import CsvWriter

        self._write(CsvWriter(path, self.header, first_second))

    def to_coco(self, path: str | os.PathLike) -> None:
        """Write the tubes' actions as COCO-style video JSON: videos, categories, annotations with boxes over time."""
        from .files import CocoWriter

        self._write(CocoWriter(path, self.header))

    @classmethod
    def from_json(cls, path: str | os.PathLike) -> VideoActions:
        """What :meth:`to_json` wrote. Numbers were rounded to six digits.

        Raises:
            UserError: the file is missing or not of this format.
        """
        from .files import read_json

        return read_json(Path(path))

    def _write(self, writer: Any) -> None:
        with writer:
            for keyframe in self.keyframes:
                writer.keyframe(keyframe)
            for tube in self.tubes:
                writer.tube(tube)
            writer.finish(self.duration, self.num_frames)


def top_actions(scores: Scores, names: list[str], k: int, min_score: float = 0.0) -> list[tuple[str, float]]:
    """The ``k`` best of (C,) scores that are at least ``min_score``: (name, score), best first."""
    best = np.argsort(-scores, kind="stable")[:k]
    return [(names[i], float(scores[i])) for i in best if scores[i] >= min_score]


def interpolate(times: NDArray[np.float64], boxes: Boxes, second: float) -> Boxes:
    """The box (4,) at ``second`` between boxes (M, 4) at ascending ``times`` (M,), linear; clamped at the ends."""
    after = int(np.searchsorted(times, second))
    if after == 0:
        return boxes[0]
    if after == len(times):
        return boxes[-1]
    share = (second - times[after - 1]) / (times[after] - times[after - 1])
    return ((1 - share) * boxes[after - 1] + share * boxes[after]).astype(np.float32)


def to_instances(keyframe: KeyframeActions, header: VideoHeader) -> Any:
    """A keyframe as detectron2's ``Instances``, for its ``Visualizer``.

    Fields: ``pred_boxes`` (pixels), ``scores`` (N,) and ``pred_classes`` (N,) of the best action, as index into
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
