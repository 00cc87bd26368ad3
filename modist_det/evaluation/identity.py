"""Metrics of tracks: ID-F1 (Ristani et al., ECCV 2016 workshops) and identity switches (CLEAR MOT, Bernardin 2008)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..structures.boxes import iou_matrix

__all__ = ["track_metrics"]

People = tuple[Sequence[int], NDArray[np.floating]]  # ids (N,) and boxes (N, 4) of one frame


def track_metrics(
    videos: Iterable[Iterable[tuple[People, People]]], min_iou: float = 0.5
) -> dict[str, float]:
    """Compare the tracks of videos with annotated ones.

    Args:
        videos: for each video, for each frame in order: annotated (ids, boxes) and found (ids, boxes).
        min_iou: from which a found box matches an annotated one.

    Returns:
        ``IDF1``; ``switches``: how often an annotated person's match has another id than the match before; ``MOTA``;
        ``precision`` and ``recall`` of the boxes; ``boxes``: number of annotated ones. Sums over the videos.
    """
    total = dict.fromkeys(("truth", "found", "same", "matched", "switches"), 0)
    for frames in videos:
        for name, value in _counts(frames, min_iou).items():
            total[name] += value
    truth, found = max(total["truth"], 1), max(total["found"], 1)
    missed, wrong = total["truth"] - total["matched"], total["found"] - total["matched"]
    return {
        "IDF1": 2 * total["same"] / max(total["truth"] + total["found"], 1),
        "switches": total["switches"],
        "MOTA": 1 - (missed + wrong + total["switches"]) / truth,
        "precision": total["matched"] / found,
        "recall": total["matched"] / truth,
        "boxes": total["truth"],
    }


def _counts(frames: Iterable[tuple[People, People]], min_iou: float) -> dict[str, int]:
    numbers = dict.fromkeys(("truth", "found", "matched", "switches"), 0)
    together: dict[tuple[int, int], int] = {}  # frames in which an annotated and a found person overlap
    last: dict[int, int] = {}  # id of the latest match of an annotated person
    for (truth_ids, truth), (ids, boxes) in frames:
        numbers["truth"] += len(truth_ids)
        numbers["found"] += len(ids)
        if not len(truth_ids) or not len(ids):
            continue
        iou = iou_matrix(np.asarray(truth), np.asarray(boxes))
        for row, column in np.argwhere(iou >= min_iou).tolist():
            pair = truth_ids[row], ids[column]
            together[pair] = together.get(pair, 0) + 1
        # A match goes on while it is possible; the others are the best assignment of what is left.
        goes_on = np.array([[last.get(one) == other for other in ids] for one in truth_ids])
        weight = np.where(iou >= min_iou, iou + 1000 * goes_on, 0)
        rows, columns = linear_sum_assignment(weight + 10 * (weight > 0), maximize=True)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if iou[row, column] >= min_iou:
                person, found = truth_ids[row], ids[column]
                numbers["matched"] += 1
                numbers["switches"] += last.get(person, found) != found
                last[person] = found
    return {**numbers, "same": _same(together)}


def _same(together: dict[tuple[int, int], int]) -> int:
    """Frames in which people overlap with the one found person that they are paired with in the whole video."""
    people, found = (sorted({pair[k] for pair in together}) for k in range(2))
    table = np.zeros((len(people), len(found)), int)
    for (person, other), count in together.items():
        table[people.index(person), found.index(other)] = count
    return int(table[linear_sum_assignment(table, maximize=True)].sum())
