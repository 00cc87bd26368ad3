"""Match detections with ground truth and compute average precision, for all keyframes and classes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import iou

__all__ = [
    "IOU_THRESHOLD",
    "Detections",
    "GroundTruth",
    "PrecisionRecall",
    "average_precisions",
    "choose",
    "first_finds",
    "match",
    "precision_recall",
    "run_starts",
]

IOU_THRESHOLD = 0.5
_PLACE_BITS = (1 << 22) - 1

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class GroundTruth:
    """The boxes that count, sorted by ``place`` = keyframe index * number of classes + class index."""

    keyframes: IntArray  # (F,) keys, ascending: all evaluated keyframes, including empty ones
    place: IntArray  # (n,)
    row: IntArray  # (n,) index into the source table
    boxes: NDArray[np.float64]  # (n, 4)
    counts: IntArray  # (C,) boxes of each class
    excluded_counts: IntArray  # (C,) boxes in excluded keyframes


@dataclass(frozen=True)
class Detections:
    """The detections that count, grouped by keyframe, in file order within a keyframe."""

    row: IntArray  # (n,) index into the source table
    keyframe: NDArray[np.int32]  # (n,) index of the keyframe in the ground truth, -1 if absent
    class_index: NDArray[np.integer]  # (n,) in the smallest dtype, which sorts fastest
    score: NDArray[np.float64]  # (n,)

    def take(self, mask: NDArray[np.bool_]) -> Detections:
        """The detections selected by a mask (n,)."""
        return Detections(**{name: column[mask] for name, column in vars(self).items()})


def choose(detections: Detections, boxes: NDArray[np.float64], truth: GroundTruth) -> IntArray:
    """Index (n,) of the ground-truth box with which each detection has the highest IoU, -1 if no IoU reaches 0.5.

    Args:
        boxes: (table rows, 4), indexed by ``detections.row``.
    """
    choice = np.full(len(detections.row), -1)
    starts = run_starts(truth.place)
    places, sizes = truth.place[starts], np.diff(starts, append=len(truth.place))
    # Negative for keyframes that are not in the ground truth.
    place = detections.keyframe.astype(np.int64) * len(truth.counts) + detections.class_index
    # Most detections have no ground truth of their class in their keyframe. A lookup by the low bits of the place
    # removes nearly all of them and is faster than a search.
    is_taken = np.zeros(_PLACE_BITS + 1, dtype=bool)
    is_taken[places & _PLACE_BITS] = True
    found = np.flatnonzero(is_taken[place & _PLACE_BITS])
    place = place[found]
    run = np.searchsorted(places[1:], place, side="right")
    is_there = places[run] == place
    found, run = found[is_there], run[is_there]
    # All pairs of a detection and a ground-truth box in its keyframe and class.
    count = sizes[run]
    pair_detection = np.repeat(found, count)
    pair_box = np.arange(len(pair_detection)) - np.repeat(np.cumsum(count) - count - starts[run], count)
    overlap = iou(boxes[detections.row[pair_detection]], truth.boxes[pair_box])
    enough = np.flatnonzero(overlap >= IOU_THRESHOLD)
    best = enough[_first_best(overlap[enough], pair_detection[enough])]
    choice[pair_detection[best]] = pair_box[best]
    return choice


def first_finds(choice: IntArray, score: NDArray[np.float64] | None = None) -> IntArray:
    """``choice`` (n,) with -1 for all but the first detection that chose the same box.

    Args:
        score: (n,); if given, the detection with the highest score comes first instead of the first in file order.
    """
    detection = np.flatnonzero(choice >= 0)
    detection = detection[np.argsort(choice[detection], kind="stable")]
    box = choice[detection]
    first = detection[run_starts(box) if score is None else _first_best(score[detection], box)]
    finds = np.full(len(choice), -1)
    finds[first] = choice[first]
    return finds


def match(
    detections: Detections, boxes: NDArray[np.float64], truth: GroundTruth, *, by_score: bool
) -> IntArray:
    """Index (n,) of the ground-truth box that each detection finds, -1 for a false positive."""
    return first_finds(choose(detections, boxes, truth), detections.score if by_score else None)


def _first_best(values: NDArray[np.floating], group: IntArray) -> IntArray:
    """Index of the first maximum of each group; rows of a group are consecutive."""
    starts = run_starts(group)
    if not len(starts):
        return starts
    best = np.repeat(np.maximum.reduceat(values, starts), np.diff(starts, append=len(group)))
    places = np.flatnonzero(values == best)
    return places[run_starts(group[places])]


def average_precisions(
    detections: Detections, is_hit: NDArray[np.bool_], num_groundtruth: IntArray
) -> tuple[NDArray[np.float64], IntArray]:
    """AP (NaN without ground truth) and number of detections of each class; both (C,)."""
    ap = np.full(len(num_groundtruth), np.nan)
    for c, of_class in _classes(detections, num_groundtruth):
        ranks = _ranks_of_hits(detections.score[of_class], is_hit[of_class])
        ap[c] = _monotone(np.arange(1, len(ranks) + 1) / ranks).sum() / num_groundtruth[c]
    return ap, np.bincount(detections.class_index, minlength=len(num_groundtruth))


def _ranks_of_hits(score: NDArray[np.float64], is_hit: NDArray[np.bool_]) -> IntArray:
    """Ranks (from 1, ascending) of the true positives of one class.

    False positives are only counted, because sorting them would take most of the time.
    """
    if not is_hit.any():
        return np.empty(0, dtype=np.int64)
    # Score intervals so narrow that few false positives share one with a hit.
    hits = score[is_hit]
    num_intervals = 16 * len(hits)
    low, high = np.clip([hits.min(), hits.max()], -1e300, 1e300)
    width = max(high - low, 1e-300)
    interval = ((np.clip(score, low, high) - low) * (num_intervals / width)).astype(np.int64)
    has_hit = np.zeros(num_intervals + 2, dtype=bool)
    has_hit[interval[is_hit]] = True
    # Detections in an interval with a hit, in order, after all others in higher intervals.
    ranked = np.flatnonzero(has_hit[interval])
    ranked = ranked[np.argsort(score[ranked], kind="stable")[::-1]]
    others = np.where(has_hit, 0, np.bincount(interval, minlength=len(has_hit)))
    above = np.cumsum(others[::-1])[::-1]
    place = np.flatnonzero(is_hit[ranked])
    return place + 1 + above[interval[ranked[place]]]


@dataclass(frozen=True)
class PrecisionRecall:
    """The precision-recall curve of one class; its points (n,) are the detections by descending score.

    The area under ``precision`` is AP: ``sum(precision[i] * (recall[i] - recall[i - 1]))``.
    """

    score: NDArray[np.float64]
    precision: NDArray[np.float64]  # monotone: the highest precision at this or a greater recall
    recall: NDArray[np.float64]


def precision_recall(
    detections: Detections, is_hit: NDArray[np.bool_], num_groundtruth: IntArray
) -> dict[int, PrecisionRecall]:
    """The curves of all classes with ground truth, by class index."""
    curves = {}
    for c, of_class in _classes(detections, num_groundtruth):
        ranking = of_class[np.argsort(detections.score[of_class], kind="stable")[::-1]]
        found = np.cumsum(is_hit[ranking])
        precision = _monotone(found / np.arange(1, len(found) + 1))
        curves[c] = PrecisionRecall(detections.score[ranking], precision, found / num_groundtruth[c])
    return curves


def _classes(detections: Detections, num_groundtruth: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each class with ground truth, and its detections in order."""
    num_detections = np.bincount(detections.class_index, minlength=len(num_groundtruth))
    ends = np.cumsum(num_detections)
    by_class = np.argsort(detections.class_index, kind="stable")
    for c in np.flatnonzero(num_groundtruth).tolist():
        yield c, by_class[ends[c] - num_detections[c] : ends[c]]


def _monotone(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest precision at this or a greater recall."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def run_starts(values: NDArray[Any]) -> IntArray:
    """Indices where a value differs from the previous one, including 0."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate(([0] if len(values) else [], changes)).astype(np.int64)
