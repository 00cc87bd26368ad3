"""Results of action detection: detected people, scores at keyframes, tubes.

Boxes are x1y1x2y2 in [0, 1] of the frame's width and height; times are seconds since the video's first frame.
Columns of ``scores`` correspond to the entries of ``class_names``, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ActionSegment",
    "ActionTube",
    "Boxes",
    "ClipActions",
    "KeyframeActions",
    "PersonBoxes",
    "Scores",
    "Tube",
    "VideoHeader",
    "interpolate",
    "top_actions",
]

Boxes = NDArray[np.float32]
Scores = NDArray[np.float32]


def _no_boxes() -> Boxes:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class PersonBoxes:
    """The people detected in one frame.

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
        second: time of the keyframe.
        boxes: float32 (N, 4).
        person_scores: float32 (N,), scores of the person detector.
        track_ids: int64 (N,), from 1.
        scores: float32 (N, C) in [0, 1], smoothed along the track if smoothing is on.
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
    """A time interval in which a person does an action: class id, seconds, mean score of its keyframes."""

    action: int
    start: float
    end: float
    score: float


@dataclass(frozen=True, eq=False)
class ActionTube:
    """One action of one person: boxes (M, 4) in [0, 1] at ascending times (M,), from ``start`` to ``end``."""

    action: int
    start: float
    end: float
    times: NDArray[np.float64]
    boxes: Boxes
    score: float = 1.0

    def box_at(self, second: float) -> Boxes:
        """As :meth:`Tube.box_at`."""
        return interpolate(self.times, self.boxes, second)


@dataclass(frozen=True, eq=False)
class Tube:
    """One person from appearing to leaving. Very long tubes are split into parts with the same ``track_id``.

    Attributes:
        track_id: from 1.
        times: float64 (M,), ascending: times of detections, from the tube's start to its end.
        boxes: float32 (M, 4), the person's boxes at these times.
        actions: sorted by start.
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

    def action_tubes(self) -> list[ActionTube]:
        """One for each of :attr:`actions`."""
        return [
            ActionTube(segment.action, segment.start, segment.end, self.times, self.boxes, segment.score)
            for segment in self.actions
        ]

    def box_at(self, second: float) -> Boxes:
        """The box (4,) at ``second``, interpolated linearly; clamped at the ends."""
        return interpolate(self.times, self.boxes, second)


@dataclass(frozen=True)
class VideoHeader:
    """Facts about a video that are known before its first keyframe.

    Attributes:
        video: its id: the file's name without extension.
        width, height: pixels of a frame.
        class_names: name of each class id, ascending.
        model: origin of the action model.
        person_detector: origin of the person detector.
        class_types: label type, such as "PERSON_MOVEMENT", of the class ids that have one.
        draw_scores: score from which an action is drawn, by class id; empty: not calibrated.
    """

    video: str
    width: int
    height: int
    class_names: Mapping[int, str]
    model: str = ""
    person_detector: str = ""
    class_types: Mapping[int, str] = field(default_factory=dict)
    draw_scores: Mapping[int, float] = field(default_factory=dict)


def top_actions(
    scores: Scores, names: list[str], k: int, min_score: float | NDArray[np.floating] = 0.0
) -> list[tuple[str, float]]:
    """The ``k`` best of (C,) scores that are at least ``min_score``: (name, score), best first.

    Args:
        min_score: one for all classes, or (C,).
    """
    best = np.argsort(-scores, kind="stable")
    best = best[(scores >= min_score)[best]]
    return [(names[i], float(scores[i])) for i in best[:k]]


def interpolate(times: NDArray[np.float64], boxes: Boxes, second: float) -> Boxes:
    """The box (4,) at ``second`` between boxes (M, 4) at ascending ``times`` (M,), linear; clamped at the ends."""
    after = int(np.searchsorted(times, second))
    if after == 0:
        return boxes[0]
    if after == len(times):
        return boxes[-1]
    share = (second - times[after - 1]) / (times[after] - times[after - 1])
    return ((1 - share) * boxes[after - 1] + share * boxes[after]).astype(np.float32)
