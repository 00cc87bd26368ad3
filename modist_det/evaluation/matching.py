"""Pairs of detections and ground truth, their overlap, and which detection finds which ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import iou
from ..structures.keyframes import IntArray
from ..structures.tables import equal_pairs
from ..structures.tubes import TubeTable
from ..utils.errors import UserError
from .protocols import Rules

__all__ = ["Overlaps", "match_pairs", "rank_by_score", "suppressed", "tube_overlaps"]

_CHUNK = 1 << 20  # pairs of boxes that are compared at once

Floats = NDArray[np.float64]


def rank_by_score(score: Floats) -> IntArray:
    """Rank (n,) of each detection from 0, the highest score first, equal ones in order."""
    rank = np.empty(len(score), np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
    return rank


def match_pairs(
    detection: IntArray, truth: IntArray, overlap: Floats, rank: IntArray, threshold: float, retry: bool
) -> IntArray:
    """Ground truth (n,) that each detection finds, -1 for a false positive.

    Detections choose in the order of ``rank``. With ``retry`` each takes the best ground truth that is left,
    otherwise it finds the best of all if nobody has taken it. All choose at once, and the first of those who chose
    the same keeps it; since the order is the same everywhere, repeating that for the others gives what choosing one
    by one gives.

    Args:
        detection, truth, overlap: (p,), the pairs; NaN is chosen before any number, but is not enough.
        rank: (n,).
    """
    found = np.full(len(rank), -1)
    order = np.lexsort((truth, -np.where(np.isnan(overlap), np.inf, overlap), detection))
    enough = overlap[order] >= threshold
    if not retry:  # only the first pair of a detection counts
        ordered = detection[order]
        enough &= np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    order = order[enough]
    detection, truth = detection[order], truth[order]
    owner = np.full(int(truth.max(initial=-1)) + 1, -1)
    # The pair that each detection offers next; pairs of a detection follow each other, the best first.
    starts = np.flatnonzero(np.r_[True, detection[1:] != detection[:-1]][: len(detection)])
    ends = np.append(starts[1:], len(detection))
    at = starts.copy()
    active = np.arange(len(starts))
    while len(active):
        pair = at[active]
        best = np.full(len(owner), np.iinfo(np.int64).max)
        held = owner >= 0
        best[held] = rank[owner[held]]
        np.minimum.at(best, truth[pair], rank[detection[pair]])
        wins = best[truth[pair]] == rank[detection[pair]]
        displaced = owner[truth[pair[wins]]]
        owner[truth[pair[wins]]] = detection[pair[wins]]
        loses = active[~wins]
        if (displaced >= 0).any():
            loses = np.append(loses, np.searchsorted(detection[starts], displaced[displaced >= 0]))
        at[loses] += 1
        active = loses[at[loses] < ends[loses]]
    taken = np.flatnonzero(owner >= 0)
    found[owner[taken]] = taken
    return found


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The overlap of pairs of tubes (p,): mean IoU of boxes over shared frames, and overlap of the times.

    ``total`` is their product; NaN where it is not defined.
    """

    space: Floats
    time: Floats

    @property
    def total(self) -> Floats:
        return self.space * self.time


def tube_overlaps(
    a: TubeTable, b: TubeTable, i: IntArray, j: IntArray, rules: Rules, what: str = "tubes"
) -> Overlaps:
    """Overlap of tubes ``i`` (p,) of ``a`` with tubes ``j`` (p,) of ``b``.

    Raises:
        UserError: a tube has holes, and the rules do not allow that.
    """
    counted = rules.length_extra is None
    if counted:  # only which frames are the same matters
        numbers = np.unique(np.concatenate([a.frame, b.frame]))
        a, b = _without_holes(a, numbers), _without_holes(b, numbers)
    else:
        for table in (a, b):
            _check_holes(table, what)
    first_a, first_b = a.frame[a.starts[:-1]][i], b.frame[b.starts[:-1]][j]
    last_a, last_b = a.frame[a.starts[1:] - 1][i], b.frame[b.starts[1:] - 1][j]
    first = np.maximum(first_a, first_b)
    shared = np.maximum(np.minimum(last_a, last_b) - first + 1, 0)
    total, both = np.zeros(len(i)), shared.copy()
    pairs = np.flatnonzero(shared)
    for part in np.split(pairs, _cuts(shared[pairs])):
        if not len(part):
            continue
        count = shared[part]
        begins = np.cumsum(count) - count
        step = np.arange(begins[-1] + count[-1]) - np.repeat(begins, count)
        rows_a = np.repeat(a.starts[i[part]] + (first - first_a)[part], count) + step
        rows_b = np.repeat(b.starts[j[part]] + (first - first_b)[part], count) + step
        total[part] = np.add.reduceat(iou(a.boxes[rows_a], b.boxes[rows_b], rules.extra), begins)
        if counted:
            there = ~(np.isnan(a.boxes[rows_a, 0]) | np.isnan(b.boxes[rows_b, 0]))
            both[part] = np.add.reduceat(there.astype(np.int64), begins)
    if counted:
        lengths = [np.add.reduceat(~np.isnan(t.boxes[:, 0]), t.starts[:-1], dtype=np.int64) for t in (a, b)]
        inter, union = both, lengths[0][i] + lengths[1][j] - both
    else:
        extra = int(rules.length_extra or 0)
        union = np.maximum(last_a, last_b) - np.minimum(first_a, first_b) + extra
        inter = np.where(shared >= rules.min_shared, shared - 1 + extra, 0)
    with np.errstate(invalid="ignore"):
        time = np.where(shared > 0, inter / union, 0.0)
    return Overlaps(total / np.maximum(both, 1), time)


def _cuts(counts: IntArray) -> IntArray:
    """Where to cut pairs so that each part has about ``_CHUNK`` boxes."""
    return np.flatnonzero(np.diff(np.cumsum(counts) // _CHUNK)) + 1


def _holes(table: TubeTable) -> NDArray[np.bool_]:
    """Mask (T,) of the tubes that miss a frame between their first and last."""
    return table.frame[table.starts[1:] - 1] - table.frame[table.starts[:-1]] + 1 != table.lengths


def _check_holes(table: TubeTable, what: str) -> None:
    holes = np.flatnonzero(_holes(table))
    if len(holes):
        rows = slice(table.starts[holes[0]], table.starts[holes[0] + 1])
        frames = table.frame[rows]
        missing = frames[:-1][np.diff(frames) > 1][0] + 1
        raise UserError(
            f"{what}: tube {holes[0]} has boxes from frame {frames[0]} to {frames[-1]}, but none at {missing}; this "
            "protocol knows no tubes with holes (fill them, split the tube, or use protocol 'recommended')"
        )


def _without_holes(table: TubeTable, numbers: IntArray) -> TubeTable:
    """Frames as indices into ``numbers``, and boxes of NaN where a tube misses one of them."""
    frame = np.searchsorted(numbers, table.frame)
    table = TubeTable(table.video, table.label, table.score, table.starts, frame, table.boxes)
    if not _holes(table).any():
        return table
    first = frame[table.starts[:-1]]
    lengths = frame[table.starts[1:] - 1] - first + 1
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(starts[:-1] - first, table.lengths) + frame
    boxes = np.full((starts[-1], 4), np.nan)
    boxes[rows] = table.boxes
    frames = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, lengths)
    return TubeTable(table.video, table.label, table.score, starts, frames, boxes)


def suppressed(table: TubeTable, threshold: float, rules: Rules) -> NDArray[np.bool_]:
    """Mask (T,) of the tubes that overlap a better kept one of their video and class by more than ``threshold``."""
    group = table.video * (int(table.label.max(initial=0)) + 1) + table.label
    i, j = equal_pairs(group, group)
    rank = np.empty(len(table), np.int64)
    rank[np.argsort(table.score, kind="stable")[::-1]] = np.arange(len(table))
    better = rank[i] < rank[j]
    i, j = i[better], j[better]
    near = tube_overlaps(table, table, i, j, rules, "detections").total > threshold
    i, j = i[near], j[near]
    dropped = np.zeros(len(table), bool)
    for pair in np.argsort(rank[i], kind="stable").tolist():
        dropped[j[pair]] |= not dropped[i[pair]]
    return dropped
