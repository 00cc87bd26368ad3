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

_AT_A_TIME = 1 << 15

IntArray = NDArray[np.int64]
Indices = NDArray[np.int32]


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
        if mask.all():
            return self
        index = np.flatnonzero(mask)
        return Detections(**{name: column.take(index) for name, column in vars(self).items()})


def _slices(length: int) -> Iterator[slice]:
    """Slices of an array with which numpy works in the processor's cache."""
    return (slice(start, start + _AT_A_TIME) for start in range(0, length, _AT_A_TIME))


def choose(detections: Detections, boxes: NDArray[np.float64], truth: GroundTruth) -> Indices:
    """Index (n,) of the ground-truth box with which each detection has the highest IoU, -1 if no IoU reaches 0.5.

    Args:
        boxes: (table rows, 4), indexed by ``detections.row``.
    """
    starts = run_starts(truth.place)
    sizes = np.diff(starts, append=len(truth.place))
    # The run of ground truth at each place, -1 for none. Most detections have none of their class in their keyframe.
    # Keyframe -1, which is not in the ground truth, is the one after the last.
    run_at = np.full((len(truth.keyframes) + 1, len(truth.counts)), -1, np.int32)
    run_at.ravel()[truth.place[starts]] = np.arange(len(starts))
    choice = np.full(len(detections.row), -1, np.int32)
    for part in _slices(len(choice)):
        run = run_at[detections.keyframe[part], detections.class_index[part]]
        found = np.flatnonzero(run >= 0)
        run = run[found]
        # All pairs of a detection and a ground-truth box in its keyframe and class.
        count = sizes[run]
        pair_detection = np.repeat(found, count)
        pair_box = np.arange(len(pair_detection)) - np.repeat(np.cumsum(count) - count - starts[run], count)
        # By columns, as the reader keeps boxes.
        rows = detections.row[part][pair_detection]
        detected = np.array([column[rows] for column in boxes.T]).T
        true = np.array([column[pair_box] for column in truth.boxes.T]).T
        overlap = iou(detected, true)
        enough = np.flatnonzero(overlap >= IOU_THRESHOLD)
        best = enough[_first_best(overlap[enough], pair_detection[enough])]
        choice[part][pair_detection[best]] = pair_box[best]
    return choice


def first_finds(choice: Indices, score: NDArray[np.float64] | None = None) -> Indices:
    """``choice`` (n,) with -1 for all but the first detection that chose the same box.

    Args:
        score: (n,); if given, the detection with the highest score comes first instead of the first in file order.
    """
    detection = np.flatnonzero(choice >= 0)
    num_boxes = choice.max(initial=-1) + 1
    if score is not None:
        best = np.full(num_boxes, -np.inf)
        np.maximum.at(best, choice[detection], score[detection])
        detection = detection[score[detection] == best[choice[detection]]]
    first = np.full(num_boxes, -1)
    first[choice[detection[::-1]]] = detection[::-1]  # what is assigned last remains
    first = first[first >= 0]
    finds = np.full_like(choice, -1)
    finds[first] = choice[first]
    return finds


def match(
    detections: Detections, boxes: NDArray[np.float64], truth: GroundTruth, *, by_score: bool
) -> Indices:
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
    detections: Detections,
    is_hit: NDArray[np.bool_],
    num_groundtruth: IntArray,
    *reduced: tuple[IntArray, NDArray[np.bool_]],
) -> list[tuple[NDArray[np.float64], IntArray]]:
    """AP (NaN without ground truth) and number of detections of each class, both (C,).

    Args:
        is_hit: (n,) the true positives.
        reduced: indices of detections to leave out, and the true positives (n,) without those.

    Returns:
        The result of all detections and each result without some of them.
    """
    num_classes, class_index = len(num_groundtruth), detections.class_index
    hits = np.flatnonzero(np.any([is_hit, *(mask for _, mask in reduced)], axis=0))
    hits, num_up_to = _sorted_hits(detections, hits, num_classes)
    all_detections = np.bincount(class_index, minlength=num_classes)
    all_up_to = np.bincount(num_up_to, minlength=len(hits))
    results = []
    for left_out, mask in ((np.empty(0, np.int64), is_hit), *reduced):
        num_detections = all_detections - np.bincount(class_index[left_out], minlength=num_classes)
        below = np.cumsum(all_up_to - np.bincount(num_up_to[left_out], minlength=len(all_up_to)))
        chosen = np.flatnonzero(mask[hits])
        of = class_index[hits[chosen]]
        ranks = np.cumsum(num_detections)[of] - below[chosen]
        ap = np.full(num_classes, np.nan)
        for c, part in enumerate(np.split(ranks, np.searchsorted(of, np.arange(1, num_classes)))):
            if num_groundtruth[c]:
                ap[c] = _monotone(np.arange(1, len(part) + 1) / part[::-1]).sum() / num_groundtruth[c]
        results.append((ap, num_detections))
    return results


def _sorted_hits(detections: Detections, hits: IntArray, num_classes: int) -> tuple[IntArray, Indices]:
    """True positives sorted by class, score and place, and for each detection the number of them up to it.

    No false positives are sorted, because that would take most of the time.
    """
    class_index, score = detections.class_index, detections.score
    hits = hits[np.argsort(score[hits], kind="stable")]
    hits = hits[np.argsort(class_index[hits], kind="stable")]
    # Score intervals so narrow that few false positives share one with a hit, and so few that a table of them is fast.
    low, high = np.clip([score[hits].min(initial=0), score[hits].max(initial=0)], -1e300, 1e300)
    num_intervals = 8 * len(hits) // num_classes + 1
    interval = np.empty(len(score), np.int32)
    for part in _slices(len(score)):
        scaled = score[part].clip(low, high)
        scaled -= low
        scaled *= num_intervals / max(high - low, 1e-300)
        interval[part] = scaled
        interval[part] += class_index[part] * np.int32(num_intervals + 1)
    num_in = np.bincount(interval[hits], minlength=num_classes * (num_intervals + 1)).astype(np.int32)
    ends = np.cumsum(num_in, dtype=np.int32)
    up_to = ends.take(interval, mode="clip")
    # Where there are hits in the interval, search for the detection's place among them.
    open_ = np.flatnonzero((num_in > 0).take(interval, mode="clip"))
    high = up_to[open_]
    low = high - num_in[interval[open_]]
    while len(open_):
        middle = (low + high) >> 1
        hit = hits[middle]
        other, own = score[hit], score[open_]
        is_above = (other < own) | ((other == own) & (hit <= open_))
        low, high = np.where(is_above, middle + 1, low), np.where(is_above, high, middle)
        up_to[open_] = low
        rest = low < high
        open_, low, high = open_[rest], low[rest], high[rest]
    return hits, up_to


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
