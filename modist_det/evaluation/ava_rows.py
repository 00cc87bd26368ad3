"""Select the rows of ground truth and detections that count in AVA's evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats.ava.tables import INVERTED, box_text
from ..structures.boxes import has_area
from ..structures.tables import BoxTable
from ..utils.errors import UserError
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
    return lookup.take(action, mode="clip")


def select_groundtruth(
    table: BoxTable, video_codes: dict[str, int], excluded: IntArray, class_ids: IntArray
) -> GroundTruth:
    """Select the boxes that count. ``excluded``: keys of excluded keyframes; ``class_ids`` (C,) is ascending.

    Raises:
        UserError: a box is inverted, which only tables that were not read from files can hold. The official evaluator
            refuses it, too.
    """
    inverted = np.flatnonzero((table.boxes[:, :2] > table.boxes[:, 2:]).any(axis=1))
    if len(inverted):
        box = box_text(table.boxes[inverted[0]])
        raise UserError(f"{table.path}:{table.line[inverted[0]]}: ground-truth box {box} is {INVERTED}")
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
    num_known = np.add.reduceat(known, starts, dtype=np.int64)
    keys = table.keys(video_codes, starts)
    place = np.searchsorted(keyframes, keys)  # -1 for keyframes that are not in the ground truth
    place[np.append(keyframes, -1)[place] != keys] = -1
    is_excluded = np.isin(keys, excluded)
    left_out = {
        "class_not_in_label_map": int((~known).sum()),
        "excluded_keyframe": int(num_known[is_excluded].sum()),
    }
    usable = ~is_excluded
    if mode == "official":
        left_out["no_such_keyframe_in_ground_truth"] = int(num_known[usable & (place < 0)].sum())
        usable &= place >= 0

    # Number the keyframes by their first detection and group the rows by that.
    usable &= num_known > 0
    first, frame = _number_by_first(keys[usable])
    rows = np.flatnonzero(known & np.repeat(usable, lengths))
    in_order = not (frame[1:] < frame[:-1]).any()
    if not in_order:
        rows = rows[np.argsort(np.repeat(frame, num_known[usable]), kind="stable")]
    sizes = np.bincount(frame, num_known[usable], len(first)).astype(np.int64)

    score, of_class, kept = table.score, class_index, has_area(table.boxes)
    if not in_order or len(rows) < len(table):
        score, of_class, kept = score[rows], of_class[rows], kept[rows]
    best = np.ones(len(rows), dtype=bool)
    if limit:
        best = _best_of_each(sizes, score, table.action, table.boxes, rows, limit)
    num_cut = np.bincount(of_class.take(np.flatnonzero(~best)), minlength=len(class_ids))
    if mode == "official":
        left_out[beyond(limit)] = int(num_cut.sum())
    left_out["box_without_area"] = int((best & ~kept).sum())
    keyframe = np.repeat(place[usable][first].astype(np.int32), sizes)
    return Detections(rows, keyframe, of_class, score).take(kept), best[kept], left_out, num_cut


def _number_by_first(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Index of the first of each of the distinct keys, ascending, and for each of ``keys`` its index among those."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[inverse]


def _best_of_each(
    sizes: IntArray,
    score: NDArray[np.float64],
    action: NDArray[np.int32],
    boxes: NDArray[np.float64],
    rows: IntArray,
    most: int,
) -> NDArray[np.bool_]:
    """Mask (n,) of the detections of each frame that the official evaluator keeps.

    The first ``sizes[0]`` detections are those of the first frame, and so on; action and box of each are those of
    ``rows``.

    The official evaluator reads rows into a heap of 50 (``most``) and replaces the least row by one with a higher
    score. Among rows with the score of the 50th best, candidates are those within the first 50 rows not below that
    score; the greatest candidates by (action, y1, x1, y2, x2) are kept, since later rows with higher scores replace the
    least.
    """
    starts = np.cumsum(sizes) - sizes
    kept = np.ones(len(score), dtype=bool)
    threshold = np.full(len(sizes), -np.inf)
    # Frames of equal size form a matrix, in which numpy finds the lowest kept scores.
    for size in np.unique(sizes[sizes > most]).tolist():
        frames = np.flatnonzero(sizes == size)
        places = starts[frames][:, None] + np.arange(size)
        scores = score[places]
        threshold[frames] = np.partition(scores, size - most, axis=1)[:, size - most]
        kept[places] = scores >= threshold[frames][:, None]
    # Frames in which several rows tie for the last place.
    crowded = np.add.reduceat(kept, starts, dtype=np.int64) > most
    full = np.flatnonzero(kept & np.repeat(crowded, sizes))
    frame = np.searchsorted(starts, full, side="right") - 1
    tied = score[full] == threshold[frame]
    slots = most - np.bincount(frame[~tied], minlength=len(sizes))
    kept[full[tied]] = False
    is_candidate = tied & (_rank_in_group(frame) < most)
    candidates, frame = full[is_candidate], frame[is_candidate]
    x1, y1, x2, y2 = boxes[rows[candidates]].T
    order = np.lexsort((-x2, -y2, -x1, -y1, -action[rows[candidates]], frame))
    candidates, frame = candidates[order], frame[order]
    kept[candidates[_rank_in_group(frame) < slots[frame]]] = True
    return kept


def _rank_in_group(group: IntArray) -> IntArray:
    """Position of each row within its group; rows of a group are consecutive."""
    starts = run_starts(group)
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


def beyond(limit: int) -> str:
    """The key in ``num_detections_left_out`` for detections beyond a limit."""
    return f"not_among_the_{limit or MAX_PER_KEYFRAME}_best"
