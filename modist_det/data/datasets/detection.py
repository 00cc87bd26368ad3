"""``DetectionDataset``: what the detection task and its tools ask of a dataset, whatever its files look like.

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

from ...core import CfgNode
from ...structures.class_facts import ClassFacts, KeyframeFacts
from ...structures.keyframes import VideoKeyframes
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
        fps: frames per second of folders of frames (video files know their own rate).
        first_second: the annotation's second at the first frame of every video.
        keyframe_spacing: seconds between keyframes.
        groundtruth: file of the annotations in AVA's format; None where there is none.
        label_map: file of the class names in AVA's format, likewise.
        exclusions: file of keyframes that are neither trained on nor evaluated, likewise.
        class_types: label type of each class id for which there is one.
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
    """Keyframes of videos, with the boxes and actions of the persons in them. Opens no video.

    A dataset is a subclass that has ``metadata``, ``records`` and ``evaluator``; the rest follows from them.
    """

    @property
    @abstractmethod
    def metadata(self) -> DetectionMetadata:
        """Facts about the dataset; an attribute of the class will do."""

    @abstractmethod
    def records(self, boxes: str = "ground_truth", min_score: float = 0.0) -> Sequence[DetectionRecord]:
        """The keyframes that have at least one person.

        Args:
            boxes: whose persons: ``DATASETS.TRAIN_BOXES`` or ``DATASETS.TEST_BOXES``; refuse what you do not have.
            min_score: of detected boxes.
        """

    @abstractmethod
    def evaluator(self, cfg: CfgNode, output_dir: Path) -> Evaluator[Any, Any]:
        """What turns scores of this dataset's persons into metrics; it may write into ``output_dir``.

        Its ``process`` gets a :class:`~modist_det.structures.samples.DetectionBatch` and a
        :class:`~modist_det.structures.samples.Scores` for each of its samples.
        """

    def find_videos(self, video_ids: Sequence[str]) -> dict[str, str]:
        """Path of each of these videos that is there."""
        paths = {record.video_id: record.video for record in self.records()}
        return {name: paths[name] for name in video_ids if name in paths}

    def video_records(self) -> Sequence[VideoRecord]:
        """The videos, without their annotations (pretraining)."""
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
