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
    "match",
    "precision_recall",
    "run_starts",
]

IOU_THRESHOLD = 0.5

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


def match(
    detections: Detections, boxes: NDArray[np.float64], truth: GroundTruth, *, by_score: bool
) -> IntArray:
    """Index (n,) of the ground-truth box that each detection matches, or -1 for a false positive.

    Args:
        boxes: (table rows, 4), indexed by ``detections.row``.
        by_score: match the detections of a keyframe by descending score instead of in file order.
    """
    finds = np.full(len(detections.row), -1)
    if not len(truth.place):
        return finds
    # Negative for keyframes that are not in the ground truth.
    place = detections.keyframe.astype(np.int64) * len(truth.counts) + detections.class_index
    begin = np.searchsorted(truth.place, place)
    found = np.flatnonzero(truth.place[np.minimum(begin, len(truth.place) - 1)] == place)
    # All pairs of a detection and a ground-truth box in its keyframe and class.
    begin = begin[found]
    count = np.searchsorted(truth.place, place[found], side="right") - begin
    pair_detection = np.repeat(found, count)
    pair_box = np.arange(len(pair_detection)) - np.repeat(np.cumsum(count) - count - begin, count)
    overlap = iou(boxes[detections.row[pair_detection]], truth.boxes[pair_box])
    # Each detection chooses the box with the highest IoU, if that is high enough.
    chosen = _first_best(overlap, pair_detection)
    chosen = chosen[overlap[chosen] >= IOU_THRESHOLD]
    detection, box = pair_detection[chosen], pair_box[chosen]
    # Of the detections that chose the same box, the first matches it.
    order = np.argsort(box, kind="stable")
    first = order[
        _first_best(detections.score[detection[order]], box[order]) if by_score else run_starts(box[order])
    ]
    finds[detection[first]] = box[first]
    return finds


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
    levels = np.unique(score[is_hit])
    level = np.searchsorted(levels, score)
    is_equal = np.append(levels, np.nan)[level] == score
    # Detections with the score of a hit, in order, after all other detections with a higher score.
    ranked = np.flatnonzero(is_equal)
    ranked = ranked[np.argsort(score[ranked], kind="stable")[::-1]]
    between = np.bincount(level[~is_equal], minlength=len(levels) + 1)
    above = np.cumsum(between[::-1])[::-1][1:]
    place = np.flatnonzero(is_hit[ranked])
    return place + 1 + above[level[ranked[place]]]


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
