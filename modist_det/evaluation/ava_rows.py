"""Select the rows of ground truth and detections that count in AVA's evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import has_area
from ..structures.tables import BoxTable
from .frame_ap import Detections, GroundTruth, IntArray, run_starts

__all__ = [
    "MAX_PER_KEYFRAME",
    "beyond",
    "select_detections",
    "select_groundtruth",
]

MAX_PER_KEYFRAME = 50  # limit of the official metric


def _class_index(action: NDArray[np.int32], class_ids: IntArray) -> NDArray[np.integer]:
    """Index of each action in ``class_ids``; -1 if absent."""
    lookup = np.full(class_ids[-1] + 2, -1, dtype=np.min_scalar_type(-len(class_ids)))
    lookup[class_ids] = np.arange(len(class_ids))
    return lookup[np.clip(action, 0, len(lookup) - 1)]


def select_groundtruth(
    table: BoxTable, video_codes: dict[str, int], excluded: IntArray, class_ids: IntArray
) -> GroundTruth:
    """Select the boxes that count. ``excluded``: keys of excluded keyframes; ``class_ids`` (C,) is ascending."""
    keys = table.keys(video_codes)
    everywhere = np.unique(np.concatenate([keys, table.keyframes.keys(video_codes)]))
    keyframes = np.setdiff1d(everywhere, excluded, assume_unique=True)
    class_index = _class_index(table.action, class_ids)
    known = class_index >= 0
    inside = np.isin(keys, keyframes)
    counted = known & inside
    place = np.searchsorted(keyframes, keys[counted]) * len(class_ids) + class_index[counted]
    order = np.argsort(place, kind="stable")
    return GroundTruth(
        keyframes,
        place[order],
        np.flatnonzero(counted)[order],
        table.boxes[counted][order],
        np.bincount(class_index[counted], minlength=len(class_ids)),
        np.bincount(class_index[known & ~inside], minlength=len(class_ids)),
    )


def select_detections(
    table: BoxTable,
    video_codes: dict[str, int],
    excluded: IntArray,
    keyframes: IntArray,
    class_ids: IntArray,
    mode: str,
    limit: int,
) -> tuple[Detections, NDArray[np.bool_], dict[str, int], IntArray]:
    """The detections that count without a limit, a mask of those within ``limit`` (0: all), the number of the ignored
    detections by reason, and the number beyond the limit by class.
    """
    class_index = _class_index(table.action, class_ids)
    known = class_index >= 0
    # Rows of one keyframe are consecutive in nearly every file: look up one row per run.
    moves = (table.video[1:] != table.video[:-1]) | (table.second[1:] != table.second[:-1])
    starts = np.concatenate([np.arange(min(len(table), 1)), np.flatnonzero(moves) + 1])
    lengths = np.diff(starts, append=len(table))
    num_known = np.diff(np.concatenate([[0], np.cumsum(known)])[np.append(starts, len(table))])
    keys = table.keys(video_codes, starts)
    is_excluded = np.isin(keys, excluded)
    left_out = {
        "class_not_in_label_map": int((~known).sum()),
        "excluded_keyframe": int(num_known[is_excluded].sum()),
    }
    usable = ~is_excluded
    if mode == "official":
        in_truth = np.isin(keys, keyframes)
        left_out["no_such_keyframe_in_ground_truth"] = int(num_known[usable & ~in_truth].sum())
        usable &= in_truth

    # Number the keyframes by their first detection and group the rows by that.
    usable &= num_known > 0
    frame_keys, frame_of_run = _number_by_first(keys[usable])
    rows = np.flatnonzero(known & np.repeat(usable, lengths))
    frame = np.repeat(frame_of_run, num_known[usable])
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        rows, frame = rows[order], frame[order]

    score = table.score[rows]
    kept = has_area(table.boxes)[rows]
    best = np.ones(len(rows), dtype=bool)
    if limit:
        best = _best_of_each(frame, score, table.action[rows], table.boxes, rows, limit)
    num_cut = np.bincount(class_index[rows[~best]], minlength=len(class_ids))
    if mode == "official":
        left_out[beyond(limit)] = int((~best).sum())
    left_out["box_without_area"] = int((best & ~kept).sum())
    place = np.searchsorted(keyframes, frame_keys)
    place[~np.isin(frame_keys, keyframes)] = -1
    detections = Detections(rows, place.astype(np.int32)[frame], class_index[rows], score)
    return detections.take(kept), best[kept], left_out, num_cut


def _number_by_first(keys: IntArray) -> tuple[IntArray, NDArray[np.int32]]:
    """The distinct keys in order of first occurrence, and for each of ``keys`` its index among them."""
    distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[inverse]


def _best_of_each(
    frame: NDArray[np.int32],
    score: NDArray[np.float64],
    action: NDArray[np.int32],
    boxes: NDArray[np.float64],
    rows: IntArray,
    most: int,
) -> NDArray[np.bool_]:
    """Mask (n,) of the detections of each frame that the official evaluator keeps.

    ``frame`` (n,) is ascending from 0; the box of each detection is ``boxes[rows]``.

    The official evaluator reads rows into a heap of 50 (``most``) and replaces the least row by one with a higher
    score. Among rows with the score of the 50th best, candidates are those within the first 50 rows not below that
    score; the greatest candidates by (action, y1, x1, y2, x2) are kept, since later rows with higher scores replace the
    least.
    """
    sizes = np.bincount(frame)
    starts = np.cumsum(sizes) - sizes
    # Frames of equal size form a matrix, in which numpy finds the lowest kept scores.
    threshold = np.full(len(sizes), -np.inf)
    for size in np.unique(sizes[sizes > most]).tolist():
        frames = np.flatnonzero(sizes == size)
        scores = score[starts[frames][:, None] + np.arange(size)]
        threshold[frames] = np.partition(scores, size - most, axis=1)[:, size - most]
    limit = threshold[frame]
    kept = score >= limit
    # Frames in which several rows tie for the last place.
    crowded = np.bincount(frame[kept], minlength=len(sizes)) > most
    full = np.flatnonzero(kept & crowded[frame])
    tied = score[full] == limit[full]
    slots = most - np.bincount(frame[full[~tied]], minlength=len(sizes))
    kept[full[tied]] = False
    candidates = full[tied & (_rank_in_group(frame[full]) < most)]
    x1, y1, x2, y2 = boxes[rows[candidates]].T
    order = np.lexsort((-x2, -y2, -x1, -y1, -action[candidates], frame[candidates]))
    candidates = candidates[order]
    kept[candidates[_rank_in_group(frame[candidates]) < slots[frame[candidates]]]] = True
    return kept


def _rank_in_group(group: NDArray[np.int32]) -> IntArray:
    """Position of each row within its group; rows of a group are consecutive."""
    starts = run_starts(group)
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


def beyond(limit: int) -> str:
    """The key in ``num_detections_left_out`` for detections beyond a limit."""
    return f"not_among_the_{limit or MAX_PER_KEYFRAME}_best"
