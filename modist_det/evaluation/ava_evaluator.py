"""Evaluates a model's AVA mAP over batches and processes."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from ..formats.ava.files import BoxTable, read_ava_boxes, read_exclusions, read_label_map
from ..utils.errors import UserError
from ..utils.files import write_json
from .ava import MAX_PER_KEYFRAME, AVAMatch, class_table, match_ava
from .ava import metrics as ava_metrics
from .bootstrap import ava_hits, interval_text, map_interval
from .chance import with_random_scores
from .detections import DetectionCollector
from .operating_points import write_thresholds

__all__ = ["AVAEvaluator"]

logger = logging.getLogger(__name__)

_DRAWS = 3
_BOXES = {
    "ground_truth": "scored on ground-truth boxes, so people that a detector would miss or invent do not count",
    "detected": "scored on a detector's boxes",
    "both": "scored on ground-truth and a detector's boxes",
}


class AVAEvaluator(DetectionCollector):
    """Evaluates action scores of persons at keyframes; see :class:`.evaluator.Evaluator` for the contract.

    The mAP equals that of ``tools/evaluate_ava.py`` for the csv file written here with the same detection limit,
    because boxes are first rounded to the file's six decimals.

    Args:
        groundtruth: AVA csv of annotated boxes.
        label_map: evaluated classes; class id ``c`` is channel ``c - 1`` of the scores.
        exclusions: csv of excluded keyframes.
        output_dir: folder for ``<dataset_name>_detections.csv`` (official format),
            ``<dataset_name>_ava_result.json`` (the result of ``evaluate_ava``) and ``<dataset_name>_thresholds.json``
            (scores from which actions are drawn on videos); None: write nothing.
        dataset_name: for file names and messages.
        mode: ``"official"`` or ``"pyslowfast"``.
        max_detections: detections that count per keyframe in the official mode, over all classes; 0: all.
        boxes: origin of the scored boxes, for the text about the result: "ground_truth", "detected" or "both"; "": not
            known.

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
        boxes: str = "",
    ) -> None:
        if groundtruth is None:
            raise UserError(f"dataset {dataset_name} has no ground truth to evaluate against")
        self._groundtruth = read_ava_boxes(groundtruth)
        self._labels = read_label_map(label_map)
        self._exclusions = None if exclusions is None else read_exclusions(exclusions)
        self._mode = mode
        self._max_detections = max_detections
        self._box_source = boxes
        super().__init__(self._labels, output_dir, dataset_name)

    def evaluate(self) -> dict[str, Any]:
        """``mAP``, ``mAP/<label type>`` and ``AP/<class>``; ``{}`` on processes other than the main one. With enough
        videos also ``interval/mAP/low`` and ``high``: the 95 % confidence interval of the mAP. ``about`` is a text
        that says which boxes were scored and what random scores get.

        Classes without ground truth have no metrics and are omitted.
        """
        detections = self.gather()
        if detections is None:
            return {}
        matched = self._matched(detections)
        result = ava_metrics(matched)
        interval = map_interval(ava_hits(matched))
        logger.info("%s\n%s\n%s", self._dataset_name, class_table(result), interval_text(interval))
        for warning in result["warnings"]:
            logger.warning("%s", warning)
        self.write(detections)
        if self._output_dir is not None:
            write_json(self._file("ava_result.json"), result, allow_nan=False)
            write_thresholds(self._file("thresholds.json"), matched)
        metrics = {"mAP": result["mAP"]}
        metrics.update((f"mAP/{name}", value) for name, value in result["mAP_by_type"].items())
        metrics.update((f"AP/{c['name']}", c["AP"]) for c in result["classes"])
        if interval is not None:
            metrics |= {f"interval/mAP/{end}": interval[end] for end in ("low", "high")}
        found = {name: value for name, value in metrics.items() if value is not None}
        return found | ({"about": self._about(detections, result)} if found else {})

    def _matched(self, detections: BoxTable) -> AVAMatch:
        return match_ava(
            self._groundtruth,
            detections,
            self._labels,
            self._exclusions,
            self._mode,
            self._max_detections,
        )

    def _about(self, detections: BoxTable, result: dict[str, Any]) -> str:
        """Which boxes were scored, how many there are, and the mAP of the same boxes with random scores."""
        draws = [ava_metrics(self._matched(table))["mAP"] for table in with_random_scores(detections, _DRAWS)]
        classes = [row["AP"] for row in result["classes"]]
        measured = sum(value is not None for value in classes)
        return (
            f"{_BOXES.get(self._box_source, 'scored on the boxes given')}; {measured} of {len(classes)} classes have "
            f"ground truth, {len(self._groundtruth)} rows of it; the same boxes with random scores: mAP "
            f"{np.mean(draws):.4f}"
        )
