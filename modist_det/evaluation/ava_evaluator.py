"""Evaluates a model's AVA mAP over batches and processes."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..formats.ava.files import (
    BoxTable,
    KeyTable,
    read_ava_boxes,
    read_exclusions,
    read_label_map,
    write_detections,
)
from ..structures.samples import DetectionBatch, Scores
from ..utils import comm
from ..utils.errors import UserError
from ..utils.files import write_json
from .ava import MAX_PER_KEYFRAME, class_table, evaluate_ava

__all__ = ["AVAEvaluator"]

logger = logging.getLogger(__name__)


class AVAEvaluator:
    """Evaluates action scores of persons at keyframes; see :class:`.evaluator.Evaluator` for the contract.

    The mAP equals that of ``tools/evaluate_ava.py`` for the csv file written here with the same detection limit,
    because boxes are first rounded to the file's six decimals.

    Args:
        groundtruth: AVA csv of annotated boxes.
        label_map: evaluated classes; class id ``c`` is channel ``c - 1`` of the scores.
        exclusions: csv of excluded keyframes.
        output_dir: folder for ``<dataset_name>_detections.csv`` (official format) and
            ``<dataset_name>_ava_result.json`` (the result of ``evaluate_ava``); None: write nothing.
        dataset_name: for file names and messages.
        mode: ``"official"`` or ``"pyslowfast"``.
        max_detections: detections that count per keyframe in the official mode, over all classes; 0: all.

    Raises:
        UserError: there is no ground truth, or a file is missing or malformed.

    Example::

        evaluator = AVAEvaluator("val.csv", "label_map.pbtxt", output_dir="output/inference")
        evaluator.process({"video_id": ["a"], "second": [902.0], "original_boxes": [boxes]}, [{"scores": scores}])
        print(evaluator.evaluate()["mAP"])
    """

    def __init__(
        self,
        groundtruth: str | os.PathLike[str] | None,
        label_map: str | os.PathLike[str],
        exclusions: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        dataset_name: str = "ava",
        mode: str = "official",
        max_detections: int = MAX_PER_KEYFRAME,
    ) -> None:
        if groundtruth is None:
            raise UserError(f"dataset {dataset_name} has no ground truth to evaluate against")
        self._groundtruth = read_ava_boxes(groundtruth)
        self._labels = read_label_map(label_map)
        self._exclusions = None if exclusions is None else read_exclusions(exclusions)
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._dataset_name = dataset_name
        self._mode = mode
        self._max_detections = max_detections
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
            UserError: shapes do not match each other or the label map, or a score is not finite.
        """
        rows = zip(batch["video_id"], batch["second"], batch["original_boxes"], predictions, strict=True)
        for video, second, boxes, prediction in rows:
            box_array = np.asarray(torch.as_tensor(boxes).cpu(), dtype=np.float32).reshape(-1, 4)
            scores = prediction["scores"].detach().float().cpu().numpy()
            self._check(scores, len(box_array), f"{video},{float(second):g}")
            self._keyframes.append((str(video), float(second)))
            self._boxes.append(box_array)
            self._scores.append(scores)

    def evaluate(self) -> dict[str, Any]:
        """``mAP``, ``mAP/<label type>`` and ``AP/<class>``; ``{}`` on processes other than the main one.

        Classes without ground truth have no metrics and are omitted.
        """
        shards = comm.gather((self._keyframes, self._boxes, self._scores))
        if not comm.is_main_process():
            return {}
        detections = self._table(shards)
        result = evaluate_ava(
            self._groundtruth,
            detections,
            self._labels,
            self._exclusions,
            self._mode,
            self._max_detections,
        )
        logger.info("%s\n%s", self._dataset_name, class_table(result))
        for warning in result["warnings"]:
            logger.warning("%s", warning)
        if self._output_dir is not None:
            write_detections(self._file("detections.csv"), detections)
            write_json(self._file("ava_result.json"), result, allow_nan=False)
        metrics = {"mAP": result["mAP"]}
        metrics.update((f"mAP/{name}", value) for name, value in result["mAP_by_type"].items())
        metrics.update((f"AP/{c['name']}", c["AP"]) for c in result["classes"])
        return {name: value for name, value in metrics.items() if value is not None}

    def _check(self, scores: NDArray[np.float32], num_boxes: int, where: str) -> None:
        highest = max(self._labels)
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

    def _table(self, shards: list[tuple[Any, ...]]) -> BoxTable:
        """All detections of label map classes, sorted by video and second: the same for any number of processes."""
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
        ids = np.array(sorted(self._labels), dtype=np.int32)
        rows = np.repeat(np.arange(len(order)), persons * len(ids))
        box = np.concatenate([np.empty((0, 4)), *(boxes[i] for i in order)]).round(6)
        score = [np.empty(0), *(scores[i][:, ids - 1].ravel() for i in order)]
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
