"""Evaluate a person detector's boxes with COCO's average precision and recall (pycocotools)."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.ava.files import read_ava_boxes, read_person_boxes
from ..structures.boxes import iou
from ..structures.tables import BoxTable
from ..utils.errors import UserError

__all__ = ["evaluate_person_boxes"]

# Positions in COCO's summary. Metrics by object size are omitted, because frame sizes in pixels are not known here.
_FIGURES = {"AP": 0, "AP50": 1, "AP75": 2, "AR@1": 6, "AR@10": 7, "AR@100": 8}
_SIDE = 1000.0  # arbitrary size to which [0, 1] is scaled

Key = tuple[str, float]


def evaluate_person_boxes(
    groundtruth: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9),
) -> dict[str, Any]:
    """COCO's metrics, and recall at IoU 0.5 for several score thresholds.

    Only keyframes of the ground truth count, including those without people. Rows with the same box are one person.
    Detections of unannotated persons are false positives: if a dataset annotates only actors, look at recall.

    Args:
        groundtruth: csv in AVA's format.
        detections: csv of person boxes (``video,second,x1,y1,x2,y2,action or empty,score``).

    Returns:
        ``AP`` (over IoU 0.5 to 0.95), ``AP50``, ``AP75``, ``AR@1``, ``AR@10``, ``AR@100``; ``persons``, ``keyframes``,
        ``detections``: counts; ``ignored``: detections at other keyframes; ``recall``: a list of dicts ``min_score``,
        ``recall``, ``per_keyframe`` (boxes).

    Raises:
        UserError: files cannot be read, or have no keyframe in common.
    """
    truth, found = read_ava_boxes(groundtruth), read_person_boxes(detections)
    people, keyframes = _people(truth)
    boxes, scores, ignored = _detections(found, keyframes)
    if len(found) and ignored == len(found):
        first = truth.name(0) if len(truth) else "none"
        raise UserError(
            f"no keyframe of {detections} is in {groundtruth} (such as {found.name(0)}, and {first}); "
            "video names and seconds must be the same"
        )
    metrics = _coco(people, boxes, scores, len(keyframes))
    recall = [_recall(people, boxes, scores, threshold, len(keyframes)) for threshold in thresholds]
    counts = {
        "persons": len(people[0]),
        "keyframes": len(keyframes),
        "detections": len(scores),
        "ignored": ignored,
    }
    return {**metrics, **counts, "recall": recall}


Places = tuple[NDArray[np.int64], NDArray[np.float64]]  # keyframe of each box (N,), boxes (N, 4)


def _people(table: BoxTable) -> tuple[Places, dict[Key, int]]:
    keyframes: dict[Key, int] = {}
    for part in (table, table.keyframes):
        for key in part.names():
            keyframes.setdefault(key, len(keyframes))
    index = np.array([keyframes[key] for key in table.names()], np.int64)
    rows = np.unique(np.column_stack([index, table.boxes]), axis=0) if len(table) else np.zeros((0, 5))
    return (rows[:, 0].astype(np.int64), rows[:, 1:]), keyframes


def _detections(table: BoxTable, keyframes: dict[Key, int]) -> tuple[Places, NDArray[np.float64], int]:
    index = np.array([keyframes.get(key, -1) for key in table.names()], np.int64)
    rows = np.column_stack([index, table.boxes, table.score])[index >= 0]
    # A box with several actions is one person.
    rows = np.unique(rows, axis=0) if len(rows) else np.zeros((0, 6))
    return (rows[:, 0].astype(np.int64), rows[:, 1:5]), rows[:, 5], int((index < 0).sum())


def _coco(
    people: Places, boxes: Places, scores: NDArray[np.floating], num_keyframes: int
) -> dict[str, float]:
    if not len(people[0]) or not len(scores):
        return dict.fromkeys(_FIGURES, 0.0 if len(people[0]) else float("nan"))
    # Imported late because it is slow.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(num_keyframes)],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [
                {"id": number, "iscrowd": 0, **entry}
                for number, entry in enumerate(_entries(people), start=1)
            ],
        }
        truth.createIndex()
        found = truth.loadRes(
            [{"score": score, **entry} for score, entry in zip(scores.tolist(), _entries(boxes), strict=True)]
        )
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(evaluation.stats[position]) for name, position in _FIGURES.items()}


def _entries(places: Places) -> list[dict[str, Any]]:
    entries = []
    for image, (x1, y1, x2, y2) in zip(places[0].tolist(), (places[1] * _SIDE).tolist(), strict=True):
        width, height = x2 - x1, y2 - y1
        entries.append(
            {"image_id": image, "category_id": 1, "bbox": [x1, y1, width, height], "area": width * height}
        )
    return entries


def _recall(
    people: Places, boxes: Places, scores: NDArray[np.floating], min_score: float, num_keyframes: int
) -> dict[str, float]:
    """Fraction of people matched at IoU 0.5 by a box with at least this score."""
    kept = scores >= min_score
    index, corners = boxes[0][kept], boxes[1][kept]
    order = np.argsort(index, kind="stable")
    index, corners = index[order], corners[order]
    starts, ends = np.searchsorted(index, people[0], "left"), np.searchsorted(index, people[0], "right")
    hits = sum(
        bool((iou(person, corners[start:end]) >= 0.5).any())
        for person, start, end in zip(people[1], starts, ends, strict=True)
    )
    recall = hits / len(people[0]) if len(people[0]) else float("nan")
    return {"min_score": min_score, "recall": recall, "per_keyframe": len(index) / max(num_keyframes, 1)}
