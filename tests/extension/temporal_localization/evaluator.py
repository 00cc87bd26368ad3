"""The metric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from torch import Tensor

from modist_det.core import SHARE, Key, add_section
from modist_det.utils import comm

from .data import FeatureBatch, Features, Segment

add_section("TEST.SEGMENTS", THRESHOLD=Key(0.5, SHARE), IOU=Key(0.5, SHARE))


class SegmentEvaluator:
    """Precision, recall and F1 of segments: right is one that overlaps a true one of its class enough, each once."""

    def __init__(self, dataset: Features, path: Path, threshold: float, iou: float) -> None:
        self.dataset, self.path, self.threshold, self.iou = dataset, path, threshold, iou
        self.reset()

    def reset(self) -> None:
        self.found: dict[str, list[Segment]] = {}

    def process(self, batch: FeatureBatch, predictions: Sequence[dict[str, Tensor]]) -> None:
        for name, prediction in zip(batch["id"], predictions, strict=True):
            above = (prediction["scores"] > self.threshold).cpu().numpy()
            self.found[name] = [s for k, column in enumerate(above.T) for s in self._runs(column, k)]

    def evaluate(self) -> dict[str, float]:
        found = {name: segments for part in comm.gather(self.found) for name, segments in part.items()}
        if not comm.is_main_process():
            return {}
        self.path.write_text(json.dumps(found))
        truth = {recording.name: recording.segments for recording in self.dataset.recordings}
        right = sum(self._matches(found[name], list(segments)) for name, segments in truth.items())
        precision = right / max(sum(map(len, found.values())), 1)
        recall = right / max(sum(map(len, truth.values())), 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        return {"precision": precision, "recall": recall, "F1": f1}

    def _runs(self, above: np.ndarray, k: int) -> list[Segment]:
        """Where a class is above the threshold without a break."""
        runs, start = [], 0
        for is_above, group in groupby(above.tolist()):
            end = start + len(list(group))
            if is_above:
                runs.append((start / self.dataset.rate, end / self.dataset.rate, self.dataset.classes[k]))
            start = end
        return runs

    def _matches(self, found: list[Segment], left: list[Segment]) -> int:
        count = 0
        for segment in found:
            best = max(left, key=lambda other: _overlap(segment, other), default=segment)
            if best in left and _overlap(segment, best) >= self.iou:
                left.remove(best)
                count += 1
        return count


def _overlap(one: Segment, other: Segment) -> float:
    """IoU in time; 0 for other classes."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return (
        shared / (one[1] - one[0] + other[1] - other[0] - shared)
        if shared > 0 and one[2] == other[2]
        else 0.0
    )
