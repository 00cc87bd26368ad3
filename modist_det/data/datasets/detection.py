"""``DetectionDataset``: the interface of detection datasets, independent of their file formats.

Example::

    class Mine(DetectionDataset):
        metadata = DetectionMetadata("mine", {1: "walk", 2: "run"}, num_classes=2)

        def records(self, boxes="ground_truth", min_score=0.0):
            return [DetectionRecord(...) for row in ...]

        def evaluator(self, cfg, output_dir):
            return MyEvaluator(...)

    DatasetCatalog.register("mine", Mine)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core import CfgNode
from ...structures.class_facts import ClassFacts, KeyframeFacts
from ...structures.keyframes import VideoKeyframes
from ...structures.tables import BoxTable, KeyTable
from .records import DetectionRecord, VideoRecord

if TYPE_CHECKING:
    from ...evaluation.evaluator import Evaluator

__all__ = ["DetectionDataset", "DetectionMetadata"]


@dataclass(frozen=True)
class DetectionMetadata:
    """Facts about a dataset.

    Attributes:
        name: of the dataset.
        class_names: name of each class id; ids begin at 1 and may have gaps.
        num_classes: width of a model's output; class id ``c`` is channel ``c - 1``.
        fps: frame rate of frame folders (video files store their own).
        first_second: annotated second of each video's first frame.
        keyframe_spacing: seconds between keyframes.
        groundtruth: annotation file in AVA's format; None if there is none.
        label_map: class names in AVA's format, or None.
        exclusions: keyframes to exclude from training and evaluation, or None.
        class_types: label types by class id, for classes that have one.
    """

    name: str
    class_names: Mapping[int, str]
    num_classes: int
    fps: float = 30.0
    first_second: float = 0.0
    keyframe_spacing: float = 1.0
    groundtruth: str | None = None
    label_map: str | None = None
    exclusions: str | None = None
    class_types: Mapping[int, str] = field(default_factory=dict)

    @property
    def class_facts(self) -> ClassFacts:
        return ClassFacts(
            "detection",
            self.num_classes,
            self.class_names,
            self.class_types,
            KeyframeFacts(self.fps, self.first_second, self.keyframe_spacing),
            f"dataset {self.name}",
        )


class DetectionDataset(ABC):
    """Keyframes of videos, with the boxes and actions of the persons in them. Videos are never opened.

    Subclasses define ``metadata``, ``records`` and ``evaluator``; the other methods follow from them.
    """

    @property
    @abstractmethod
    def metadata(self) -> DetectionMetadata:
        """Facts about the dataset; may be a class attribute."""

    @abstractmethod
    def records(self, boxes: str = "ground_truth", min_score: float = 0.0) -> Sequence[DetectionRecord]:
        """The keyframes with at least one person.

        Args:
            boxes: value of ``DATASETS.TRAIN_BOXES`` or ``DATASETS.TEST_BOXES``; raise ``UserError`` if not supported.
            min_score: minimum score of detected boxes.
        """

    @abstractmethod
    def evaluator(self, cfg: CfgNode, output_dir: Path) -> Evaluator[Any, Any]:
        """The evaluator that turns scores into metrics; it may write into ``output_dir``.

        Its ``process`` gets a :class:`~modist_det.structures.samples.DetectionBatch` and a
        :class:`~modist_det.structures.samples.Scores` for each of its samples.
        """

    def ground_truth(self) -> BoxTable:
        """The annotated boxes, one row for each action of a person; by default those of :meth:`records`."""
        records = self.records()
        numbers = {name: i for i, name in enumerate(dict.fromkeys(record.video_id for record in records))}
        rows = [
            (numbers[record.video_id], record.second, box, action)
            for record in records
            for box, actions in zip(record.boxes, record.actions, strict=True)
            for action in actions
        ]
        bare = [(numbers[record.video_id], record.second) for record in records if not any(record.actions)]
        name, videos = f"dataset {self.metadata.name}", tuple(numbers)
        video, second, boxes, action = zip(*rows, strict=True) if rows else ((), (), (), ())
        bare_video, bare_second = zip(*bare, strict=True) if bare else ((), ())
        nobody, lines = np.full(len(rows), -1), np.arange(1, len(rows) + 1)
        keyframes = KeyTable.of(name, videos, bare_video, bare_second, np.arange(1, len(bare) + 1))
        return BoxTable.of(
            name, videos, video, second, boxes, action, np.ones(len(rows)), nobody, lines, keyframes=keyframes
        )

    def find_videos(self, video_ids: Sequence[str]) -> dict[str, str]:
        """Paths of these videos, without those that are missing."""
        paths = {record.video_id: record.video for record in self.records()}
        return {name: paths[name] for name in video_ids if name in paths}

    def video_records(self) -> Sequence[VideoRecord]:
        """The videos without annotations (for pretraining)."""
        return [VideoRecord(i, video.name, video.path, video.fps) for i, video in enumerate(self.keyframes())]

    def keyframes(self) -> list[VideoKeyframes]:
        """Each video with its annotated keyframes."""
        facts = self.metadata
        seconds: dict[tuple[str, str, float], set[float]] = {}
        for record in self.records():
            seconds.setdefault((record.video_id, record.video, record.fps), set()).add(record.second)
        return [
            VideoKeyframes(*video, facts.first_second, tuple(sorted(found)), facts.keyframe_spacing)
            for video, found in seconds.items()
        ]
