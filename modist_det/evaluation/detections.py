"""Collects the scored boxes of a test set over batches and processes, and writes them in AVA's format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..formats.ava.files import BoxTable, KeyTable, write_detections
from ..structures.samples import DetectionBatch, Scores
from ..utils import comm
from ..utils.errors import UserError
from ..utils.files import write_json
from .evaluator import Evaluator

__all__ = ["DetectionCollector", "WithDetections"]

_Shard = tuple[list[tuple[str, float]], list[NDArray[np.float32]], list[NDArray[np.float32]]]


class DetectionCollector:
    """Base of evaluators that need all detections at once, which they write to ``<dataset_name>_detections.csv``.

    Args:
        class_ids: ids of the classes to keep; class id ``c`` is channel ``c - 1`` of the scores.
        output_dir: folder of the file; None: write nothing.
        dataset_name: for file names and messages.
    """

    def __init__(
        self,
        class_ids: Iterable[int],
        output_dir: str | os.PathLike[str] | None,
        dataset_name: str,
    ) -> None:
        self._class_ids = np.array(sorted(class_ids), dtype=np.int32)
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._dataset_name = dataset_name
        self.reset()

    def reset(self) -> None:
        self._keyframes: list[tuple[str, float]] = []
        self._boxes: list[NDArray[np.float32]] = []
        self._scores: list[NDArray[np.float32]] = []

    def process(self, batch: DetectionBatch, predictions: Sequence[Scores]) -> None:
        """Add one batch.

        Args:
            batch: lists of length B: ``video_id``; ``second``, as annotated; ``original_boxes``, (N, 4)
                tensors or arrays of x1y1x2y2 in [0, 1].
            predictions: B dicts with ``scores`` (N, K), K at least the highest class id.

        Raises:
            UserError: shapes do not match each other or the classes, or a score is not finite.
        """
        rows = zip(batch["video_id"], batch["second"], batch["original_boxes"], predictions, strict=True)
        for video, second, boxes, prediction in rows:
            box_array = np.asarray(torch.as_tensor(boxes).cpu(), dtype=np.float32).reshape(-1, 4)
            scores = prediction["scores"].detach().float().cpu().numpy()
            self._check(scores, len(box_array), f"{video},{float(second):g}")
            self._keyframes.append((str(video), float(second)))
            self._boxes.append(box_array)
            self._scores.append(scores)

    def gather(self) -> BoxTable | None:
        """All detections, sorted by video and second: the same for any number of processes. None on processes other
        than the main one.
        """
        shards = comm.gather((self._keyframes, self._boxes, self._scores))
        return self._table(shards) if comm.is_main_process() else None

    def write(self, detections: BoxTable) -> None:
        """Write the csv file, if there is a folder for it."""
        if self._output_dir is not None:
            write_detections(self._file("detections.csv"), detections)

    def _check(self, scores: NDArray[np.float32], num_boxes: int, where: str) -> None:
        highest = self._class_ids[-1]
        if scores.ndim != 2 or len(scores) != num_boxes:
            raise UserError(
                f"{where}: scores have shape {scores.shape} for {num_boxes} boxes; they must be (N, classes)"
            )
        if scores.shape[1] < highest:
            raise UserError(
                f"the model scores {scores.shape[1]} classes, but the label map of {self._dataset_name} has "
                f"ids up to {highest}; set MODEL.NUM_CLASSES to at least that"
            )
        if not np.isfinite(scores).all():
            raise UserError(f"{where}: the model gave scores that are not finite")

    def _table(self, shards: Sequence[_Shard]) -> BoxTable:
        keyframes = [key for keys, _, _ in shards for key in keys]
        boxes = [array for _, arrays, _ in shards for array in arrays]
        scores = [array for _, _, arrays in shards for array in arrays]
        # Samplers that pad shards to one length repeat some keyframes.
        first = {key: i for i, key in reversed(list(enumerate(keyframes)))}
        order = [first[key] for key in sorted(first)]
        videos = tuple(dict.fromkeys(keyframes[i][0] for i in order))
        number = {name: i for i, name in enumerate(videos)}
        video = np.array([number[keyframes[i][0]] for i in order], dtype=np.int32)
        second = np.array([keyframes[i][1] for i in order])
        persons = np.array([len(boxes[i]) for i in order], dtype=np.int64)
        ids = self._class_ids
        rows = np.repeat(np.arange(len(order)), persons * len(ids))
        parts: list[NDArray[np.floating]] = [np.empty((0, 4)), *(boxes[i] for i in order)]
        box = np.concatenate(parts).round(6)
        score: list[NDArray[np.floating]] = [np.empty(0), *(scores[i][:, ids - 1].ravel() for i in order)]
        empty = np.flatnonzero(persons == 0)
        path = str(self._file("detections.csv")) if self._output_dir is not None else "detections"
        return BoxTable(
            path=path,
            videos=videos,
            video=video[rows],
            second=second[rows],
            boxes=np.repeat(box, len(ids), axis=0),
            action=np.tile(ids, int(persons.sum())),
            score=np.concatenate(score),
            person=np.full(len(rows), -1, dtype=np.int32),
            line=np.arange(1, len(rows) + 1) + len(empty),
            keyframes=KeyTable(path, videos, video[empty], second[empty], np.arange(1, len(empty) + 1)),
        )

    def _file(self, ending: str) -> Path:
        assert self._output_dir is not None
        return self._output_dir / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', self._dataset_name)}_{ending}"


class WithDetections(DetectionCollector):
    """Writes what another evaluator judges: the detections, and its metrics as ``<dataset_name>_metrics.json``.

    Args:
        evaluator: whose metrics are returned.
    """

    def __init__(
        self,
        evaluator: Evaluator[DetectionBatch, Scores],
        class_ids: Iterable[int],
        output_dir: str | os.PathLike[str],
        dataset_name: str,
    ) -> None:
        self._evaluator = evaluator
        super().__init__(class_ids, output_dir, dataset_name)

    def reset(self) -> None:
        super().reset()
        self._evaluator.reset()

    def process(self, batch: DetectionBatch, predictions: Sequence[Scores]) -> None:
        super().process(batch, predictions)
        self._evaluator.process(batch, predictions)

    def evaluate(self) -> dict[str, Any]:
        """The metrics of ``evaluator``."""
        detections, metrics = self.gather(), self._evaluator.evaluate()
        if detections is not None:
            self.write(detections)
            numbers = {
                name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))
            }
            write_json(self._file("metrics.json"), numbers)
        return metrics
