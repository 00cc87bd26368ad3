"""Errors of a detection run: operating points, misses and false positives, worst first. Opens no video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...evaluation.ava import AVAMatch
from ...evaluation.frame_ap import IOU_THRESHOLD, IntArray
from ...evaluation.operating_points import OperatingPoint, operating_points
from ...structures.boxes import iou
from ...utils.spread import evenly_spread

__all__ = [
    "FalsePositive",
    "Miss",
    "OperatingPoint",
    "false_positives",
    "misses",
    "operating_points",
    "select_keyframes",
]


@dataclass(frozen=True)
class Miss:
    """A ground-truth box that no detection matches at its class's threshold.

    Attributes:
        keyframe: number in ``matched.boxes.keyframes``.
        box: number in ``matched.boxes``.
        class_index: in ``matched.class_ids``.
        score: of the detection that finds it below the threshold; None: there is none.
        person_detected: some detection, of any class, overlaps it enough.
    """

    keyframe: int
    box: int
    class_index: int
    score: float | None
    person_detected: bool


@dataclass(frozen=True)
class FalsePositive:
    """A detection at or above its class's threshold that matches no ground truth, also of a class without any.

    Attributes:
        keyframe, class_index: as in :class:`Miss`.
        detection: number in ``matched.counted``.
        score: of the detection.
        kind: ``"nobody"``: no annotated person there; ``"action"``: the person there does other things;
            ``"repeat"``: a better detection found the person's action.
    """

    keyframe: int
    detection: int
    class_index: int
    score: float
    kind: str


def misses(matched: AVAMatch, points: dict[int, OperatingPoint], limit: int) -> list[Miss]:
    """At most ``limit``: those that nothing finds, then those found with the lowest scores.

    Classes take turns: the worst of each, then the second worst of each, until there are enough.
    """
    num_classes = len(matched.class_ids)
    keyframe, class_index = np.divmod(matched.boxes.place, num_classes)
    score = np.full(len(matched.boxes.place), -np.inf)
    is_hit = matched.finds >= 0
    score[matched.finds[is_hit]] = matched.counted.score[is_hit]
    missed = np.flatnonzero(score < _thresholds(points, num_classes)[class_index])
    chosen = missed[_turns(class_index[missed], score[missed])[:limit]]
    return [
        Miss(
            int(keyframe[box]),
            box,
            int(class_index[box]),
            float(score[box]) if np.isfinite(score[box]) else None,
            bool(_overlaps(matched, int(keyframe[box]), matched.boxes.boxes[box])),
        )
        for box in chosen[np.argsort(score[chosen], kind="stable")].tolist()
    ]


def false_positives(matched: AVAMatch, points: dict[int, OperatingPoint], limit: int) -> list[FalsePositive]:
    """At most ``limit``, the highest scores first, of classes that take turns as in :func:`misses`."""
    counted = matched.counted
    reached = counted.score >= _thresholds(points, len(matched.class_ids))[counted.class_index]
    wrong = np.flatnonzero((matched.finds < 0) & (counted.keyframe >= 0) & reached)
    chosen = wrong[_turns(counted.class_index[wrong], -counted.score[wrong])[:limit]]
    return [
        FalsePositive(
            int(counted.keyframe[i]),
            i,
            int(counted.class_index[i]),
            float(counted.score[i]),
            _kind(matched, i),
        )
        for i in chosen[np.argsort(-counted.score[chosen], kind="stable")].tolist()
    ]


def select_keyframes(num_keyframes: int, wanted: list[int], limit: int) -> list[int]:
    """``wanted`` ones first, then others evenly spread over the rest, ``limit`` in all; ascending."""
    chosen = list(dict.fromkeys(wanted))[:limit]
    rest = np.setdiff1d(np.arange(num_keyframes), chosen)
    return sorted({*chosen, *rest[evenly_spread(len(rest), limit - len(chosen))].tolist()})


def _thresholds(points: dict[int, OperatingPoint], num_classes: int) -> NDArray[np.float64]:
    """By class; a class without ground truth has the median of the others, infinite if there are none."""
    known = [point.threshold for point in points.values()]
    thresholds = np.full(num_classes, np.median(known) if known else np.inf)
    for c, point in points.items():
        thresholds[c] = point.threshold
    return thresholds


def _turns(class_index: NDArray[np.integer], score: NDArray[np.float64]) -> IntArray:
    """Order in which each class gives its lowest score, then each its second lowest, ..."""
    order = np.lexsort((score, class_index))
    sizes = np.unique(class_index, return_counts=True)[1]
    turn = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.lexsort((score[order], turn))]


def _kind(matched: AVAMatch, detection: int) -> str:
    counted, boxes = matched.counted, matched.boxes
    place_keyframe, place_class = np.divmod(boxes.place, len(matched.class_ids))
    box = matched.detected.boxes[counted.row[detection]]
    here = np.flatnonzero(place_keyframe == counted.keyframe[detection])
    there = here[iou(box, boxes.boxes[here]) >= IOU_THRESHOLD]
    if not len(there):
        return "nobody"
    return "repeat" if (place_class[there] == counted.class_index[detection]).any() else "action"


def _overlaps(matched: AVAMatch, keyframe: int, box: NDArray[np.float64]) -> np.bool_:
    rows = matched.counted.row[matched.counted.keyframe == keyframe]
    return (iou(box, matched.detected.boxes[rows]) >= IOU_THRESHOLD).any()
