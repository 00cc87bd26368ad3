"""Rows of annotation csv files -> persons -> keyframes, as operations on whole columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import iou as pairwise_iou
from ...structures.tables import equal_pairs as pairs_of_equal_keys

__all__ = [
    "Persons",
    "group_persons",
    "join",
    "match_persons",
    "pairs_of_equal_keys",
    "pairwise_iou",
    "take_ragged",
]

IntArray = NDArray[np.int64]
_Int = TypeVar("_Int", bound=np.integer)


@dataclass(frozen=True)
class Persons:
    """P persons, sorted by keyframe.

    Attributes:
        keys: int64 (P,), keyframe number of each person, ascending.
        boxes: float32 (P, 4).
        scores: float32 (P,).
        action_starts: int64 (P + 1,): person i does ``actions[action_starts[i]:action_starts[i + 1]]``.
        actions: int64 (A,), class ids.
    """

    keys: IntArray
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    action_starts: IntArray
    actions: IntArray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def action_counts(self) -> IntArray:
        return np.diff(self.action_starts)

    def take(self, index: NDArray) -> Persons:
        """Select persons by ``index`` (ascending in keyframes) or by a mask."""
        index = np.arange(len(self))[index]
        action_starts, actions = take_ragged(self.action_starts, self.actions, index)
        return Persons(self.keys[index], self.boxes[index], self.scores[index], action_starts, actions)

    def with_actions_of(self, others: Persons, index: IntArray) -> Persons:
        """The same persons with the actions of ``others`` at ``index`` (P,); none where ``index`` is -1."""
        none = len(others)
        starts = np.append(others.action_starts, others.action_starts[-1])  # an extra person without actions
        action_starts, actions = take_ragged(starts, others.actions, np.where(index < 0, none, index))
        return Persons(self.keys, self.boxes, self.scores, action_starts, actions)


def group_persons(
    keys: IntArray, boxes: NDArray[np.float32], scores: NDArray[np.float32], actions: IntArray
) -> Persons:
    """Group rows into persons: rows of one keyframe with the same box are one person with several actions.

    (PySlowFast also groups by box. Person ids are not used: they are optional, and in some datasets all ids are equal.)
    An action below 1 means that none is known. The score is the highest of a person's rows.
    """
    order = np.lexsort((actions, *boxes.T[::-1], keys))
    keys, boxes, scores, actions = keys[order], boxes[order], scores[order], actions[order]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = (keys[1:] != keys[:-1]) | (boxes[1:] != boxes[:-1]).any(axis=1)
    person = np.cumsum(is_first) - 1
    counted = actions >= 1
    counted[1:] &= is_first[1:] | (actions[1:] != actions[:-1])
    first = np.flatnonzero(is_first)
    return Persons(
        keys=keys[first],
        boxes=boxes[first],
        scores=np.maximum.reduceat(scores, first) if len(first) else scores,
        action_starts=_starts(np.bincount(person[counted], minlength=len(first))),
        actions=actions[counted],
    )


def join(first: Persons, second: Persons) -> Persons:
    """Merge both, sorted by keyframe; within a keyframe ``first`` comes before ``second``."""
    joined = Persons(
        np.concatenate([first.keys, second.keys]),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        _starts(np.concatenate([first.action_counts, second.action_counts])),
        np.concatenate([first.actions, second.actions]),
    )
    return joined.take(np.argsort(joined.keys, kind="stable"))


def match_persons(persons: Persons, others: Persons, min_iou: float) -> IntArray:
    """For each person, the index of the person in ``others`` with the highest IoU in the same keyframe.

    -1 if that IoU is below ``min_iou`` or the keyframe has no others.
    """
    a, b = pairs_of_equal_keys(persons.keys, others.keys)
    iou = pairwise_iou(persons.boxes[a], others.boxes[b])
    by_iou = np.argsort(iou, kind="stable")
    by_iou = by_iou[iou[by_iou] >= min_iou]
    best = np.full(len(persons), -1, dtype=np.int64)
    best[a[by_iou]] = b[by_iou]  # the last assignment, that of the highest IoU, wins
    return best


def _starts(counts: NDArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def take_ragged(
    starts: NDArray[np.integer], values: NDArray[_Int], index: NDArray[np.integer]
) -> tuple[IntArray, NDArray[_Int]]:
    """Concatenate the runs ``values[starts[i]:starts[i + 1]]`` of ``index``; also returns their starts."""
    counts = np.diff(starts)[index]
    taken = _starts(counts)
    positions = np.arange(taken[-1]) + np.repeat(starts[index] - taken[:-1], counts)
    return taken, values[positions]
