"""The score threshold at which each class has its highest F1, and its file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..utils.files import write_json
from ..utils.json_reading import malformed, read_json
from .ava import AVAMatch
from .frame_ap import precision_recall

__all__ = ["OperatingPoint", "operating_points", "read_thresholds", "write_thresholds"]


@dataclass(frozen=True)
class OperatingPoint:
    """The score threshold at which a class has its highest F1, and its precision and recall there."""

    threshold: float
    precision: float
    recall: float


def operating_points(matched: AVAMatch) -> dict[int, OperatingPoint]:
    """Of each class that has ground truth and detections, by its index."""
    points = {}
    counts = matched.boxes.counts
    for c, curve in precision_recall(matched.counted, matched.finds >= 0, counts).items():
        if not len(curve.score):
            continue
        hits = curve.recall * counts[c]
        numbers = np.arange(1, len(hits) + 1)
        best = int((2 * hits / (numbers + counts[c])).argmax())
        points[c] = OperatingPoint(
            float(curve.score[best]), float(hits[best] / numbers[best]), float(curve.recall[best])
        )
    return points


def write_thresholds(path: Path, matched: AVAMatch) -> None:
    """Write the operating points as JSON; :func:`read_thresholds` reads them."""
    ids = matched.class_ids.tolist()
    rows = [
        {
            "id": ids[index],
            "name": matched.labels[ids[index]].name,
            "threshold": round(point.threshold, 6),
            "precision": round(point.precision, 6),
            "recall": round(point.recall, 6),
        }
        for index, point in operating_points(matched).items()
    ]
    write_json(path, {"rule": "highest F1", "classes": rows})


def read_thresholds(path: str | os.PathLike[str]) -> dict[str, float]:
    """Thresholds by class name.

    Raises:
        UserError: the file is malformed.
    """
    content = read_json(path)
    with malformed(f"{path} is not a file of thresholds"):
        return {str(row["name"]): float(row["threshold"]) for row in content["classes"]}
