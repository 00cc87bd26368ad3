"""What a report is about: a dataset with its ground truth, and what a model said of it.

Labelled videos are shown as keyframes in which one person fills the frame, so that both have one page.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...data.datasets.classification import ClassificationDataset
from ...data.datasets.detection import DetectionDataset
from ...evaluation.accuracy import confusion_matrix, interval_of_share, mean_class_accuracy, worst_confusions
from ...evaluation.ava import AVAMatch, detection_limit, match_ava
from ...evaluation.bootstrap import ava_hits, map_interval
from ...evaluation.predictions_file import Prediction, read_predictions
from ...formats.ava.files import LabelEntry
from ...structures.tables import BoxTable
from ...utils.json_reading import malformed, read_json
from ...video.info import VideoInfo

__all__ = ["DetectionSubject", "Subject", "VideoSubject"]

logger = logging.getLogger(__name__)

Interval = tuple[float, float]

_WHOLE_FRAME = (0.0, 0.0, 1.0, 1.0)


class Subject(ABC):
    """A dataset and what a model said of it.

    Attributes:
        task: decides the words of the page.
        name: of the dataset.
        matched: boxes and detections.
    """

    task: ClassVar[str]
    name: str
    matched: AVAMatch

    @abstractmethod
    def headline(self, result: dict[str, Any]) -> dict[str, float | None]:
        """The metrics at the top of the page, by name; ``result`` are those of ``matched``."""

    @abstractmethod
    def find_videos(self, names: Sequence[str]) -> dict[str, tuple[str, float | None]]:
        """Path, and frame rate of a folder of frames, of the videos that exist."""

    @abstractmethod
    def moment(self, video: str, second: float, info: VideoInfo) -> float:
        """Seconds from the video's first frame to a keyframe."""

    @abstractmethod
    def intervals(self, result: dict[str, Any]) -> dict[str, Interval]:
        """95 % confidence intervals of some metrics of the headline, by their names."""

    def class_facts(self) -> list[dict[str, Any]]:
        """More facts about each class, in order of ``matched.class_ids``.

        ``interval`` is the 95 % confidence interval of its first metric, None if there is none.
        """
        return [{"interval": None} for _ in self.matched.class_ids]


class DetectionSubject(Subject):
    """Scored boxes at keyframes.

    Args:
        dataset: any detection dataset.
        detections: csv in AVA's format, which every evaluation of the detection task writes.
        mode, max_detections: as :func:`~modist_det.analysis.report.write_report`.

    Raises:
        UserError: the csv or the annotations cannot be read.
    """

    task = "detection"

    def __init__(
        self, dataset: DetectionDataset, detections: str | os.PathLike, mode: str, max_detections: int
    ) -> None:
        facts = dataset.metadata
        self.name = facts.name
        self._dataset = dataset
        labels = {c: LabelEntry(name, facts.class_types.get(c, "")) for c, name in facts.class_names.items()}
        limit = detection_limit(facts.class_names, max_detections)
        self.matched = match_ava(dataset.ground_truth(), detections, labels, facts.exclusions, mode, limit)
        self._own = _own_metrics(Path(detections))
        # By index, as two classes may have the same name.
        hits = ava_hits(self.matched)
        self._interval = map_interval(dataclasses.replace(hits, names=tuple(range(len(hits.names)))))

    def headline(self, result: dict[str, Any]) -> dict[str, float | None]:
        by_type = {f"mAP of {name}": value for name, value in result["mAP_by_type"].items()}
        return {**self._own, _map_name(result): result["mAP"], **by_type}

    def intervals(self, result: dict[str, Any]) -> dict[str, Interval]:
        if self._interval is None:
            return {}
        return {_map_name(result): (self._interval["low"], self._interval["high"])}

    def class_facts(self) -> list[dict[str, Any]]:
        """``interval`` of AP, from resampled videos."""
        known = {} if self._interval is None else self._interval["per_class"]
        ends = [known.get(c, (0.0, np.nan, np.nan))[1:] for c in range(len(self.matched.class_ids))]
        return [
            {"interval": None if np.isnan(low) else (max(low, 0.0), min(high, 1.0))} for low, high in ends
        ]

    def find_videos(self, names: Sequence[str]) -> dict[str, tuple[str, float | None]]:
        found = self._dataset.find_videos(names)
        return {name: (path, self._dataset.metadata.fps) for name, path in found.items()}

    def moment(self, video: str, second: float, info: VideoInfo) -> float:
        return second - self._dataset.metadata.first_second


def _map_name(result: dict[str, Any]) -> str:
    return f"mAP at IoU {result['iou_threshold']} ({result['mode']})"


def _own_metrics(detections: Path) -> dict[str, float | None]:
    """The metrics of the dataset's own evaluator, which a run writes beside its detections."""
    path = detections.with_name(detections.name.removesuffix("_detections.csv") + "_metrics.json")
    if not path.is_file():
        return {}
    with malformed(f"{path} is not a file of metrics"):
        return {str(name): float(value) for name, value in read_json(path).items()}


class VideoSubject(Subject):
    """Labelled videos and a classifier's best classes.

    Args:
        dataset: any classification dataset.
        predictions: ``<title>_predictions.csv`` of an evaluation.

    Raises:
        UserError: the file cannot be read or does not belong to the dataset.
    """

    task = "classification"

    def __init__(self, dataset: ClassificationDataset, predictions: str | os.PathLike) -> None:
        self.name = dataset.metadata.name
        self._class_names = dataset.metadata.class_names
        self._records = {record.video_id: record for record in dataset.records()}
        self._predictions = read_predictions(predictions, self._records, self._class_names)
        if left_out := len(self._records) - len(self._predictions):
            logger.warning("%s: %d videos of %s have no row", predictions, left_out, self.name)
        labels = {c: LabelEntry(name) for c, name in enumerate(self._class_names, start=1)}
        truth = [
            [(label, 1.0) for label in self._records[prediction.video_id].labels]
            for prediction in self._predictions
        ]
        best = [prediction.best for prediction in self._predictions]
        self.matched = match_ava(
            _whole_frames(f"dataset {self.name}", self._predictions, truth),
            _whole_frames(os.fspath(predictions), self._predictions, best),
            labels,
            max_detections=0,
        )

    def headline(self, result: dict[str, Any]) -> dict[str, float | None]:
        ranks = np.array([prediction.rank for prediction in self._predictions])
        top = min(5, len(self._class_names))
        found: dict[str, float | None] = {
            name: float((ranks <= limit).mean()) for name, limit in (("top1", 1), (f"top{top}", top))
        }
        if (pair := self._single_labels()) is None:
            return {**found, f"mAP of the {len(self._predictions[0].best)} best classes": result["mAP"]}
        return {**found, "mean_class_accuracy": mean_class_accuracy(*pair)}

    def intervals(self, result: dict[str, Any]) -> dict[str, Interval]:
        hits = sum(prediction.rank <= 1 for prediction in self._predictions)
        return {"top1": interval_of_share(hits, len(self._predictions))}

    def class_facts(self) -> list[dict[str, Any]]:
        """``accuracy`` and its ``interval``, and the class that it is most often taken for.

        Only if videos have one label each.
        """
        if (pair := self._single_labels()) is None:
            return super().class_facts()
        matrix = confusion_matrix(*pair, len(self._class_names))
        worst: dict[str, str] = {}
        for confusion in worst_confusions(matrix, self._class_names, limit=matrix.size):
            worst.setdefault(confusion.label, f"{confusion.predicted} ({confusion.rows})")
        counts, right = matrix.sum(axis=1).tolist(), np.diag(matrix).tolist()
        return [
            {
                "accuracy": right[i] / counts[i] if counts[i] else None,
                "interval": interval_of_share(right[i], counts[i]) if counts[i] else None,
                "taken_for": worst.get(name, ""),
            }
            for i, name in enumerate(self._class_names)
        ]

    def find_videos(self, names: Sequence[str]) -> dict[str, tuple[str, float | None]]:
        return {name: (self._records[name].video, self._records[name].fps) for name in names}

    def moment(self, video: str, second: float, info: VideoInfo) -> float:
        """The middle of the labelled part."""
        record = self._records[video]
        start = record.start or 0.0
        return (start + (float(info.duration) if record.end is None else record.end)) / 2

    def _single_labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Labels and best classes; None if a video has several labels."""
        labels = [self._records[prediction.video_id].labels for prediction in self._predictions]
        if any(len(row) != 1 for row in labels):
            return None
        return np.array([row[0] for row in labels]), np.array([p.best[0][0] for p in self._predictions])


def _whole_frames(
    path: str, predictions: Sequence[Prediction], rows: Sequence[Sequence[tuple[int, float]]]
) -> BoxTable:
    """A table with, for each video, its classes (by index) and their scores as actions of one box."""
    counts = [len(row) for row in rows]
    number = np.repeat(np.arange(len(rows)), counts)
    classes = np.array([pair[0] for row in rows for pair in row], int)
    scores = [pair[1] for row in rows for pair in row]
    total = len(number)
    return BoxTable.of(
        path,
        [prediction.video_id for prediction in predictions],
        number,
        np.zeros(total),
        np.tile(_WHOLE_FRAME, (total, 1)),
        classes + 1,
        scores,
        np.full(total, -1),
        np.arange(1, total + 1),
    )
