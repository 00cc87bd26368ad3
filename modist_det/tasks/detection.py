"""Spatio-temporal action detection: person boxes at keyframes in, action scores out, AVA mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch.utils.data import ConcatDataset

from ..core import CfgNode, Key, Limit, add_section
from ..data.catalog import DatasetCatalog
from ..data.datasets.detection import DetectionDataset
from ..data.datasets.records import DetectionRecord
from ..data.few_labels import keyframe_share
from ..data.mappers import DetectionMapper
from ..evaluation.detections import DetectionCollector, WithDetections
from ..evaluation.evaluator import Evaluator
from ..utils.errors import UserError
from ..visualization.training import draw_predictions
from .base import TASK_REGISTRY, LabelledTask
from .pictures import ScorePictures

__all__ = ["DetectionTask", "detection"]

add_section(
    "TEST.AVA",
    MODE="official",  # or "pyslowfast", to compare with its published results
    # Number of detections per keyframe that count in the official metric, over all classes. -1: AVA's 50 where the
    # label map has AVA's classes, no limit for other data; 0: no limit.
    MAX_DETECTIONS=Key(-1, Limit(-1, 1_000_000)),
)


_NEEDS = "TASK detection needs keyframes with person boxes"


@TASK_REGISTRY.register()
def detection(cfg: CfgNode) -> DetectionTask:
    """``TASK: detection``."""
    return DetectionTask([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])


class DetectionTask(LabelledTask):
    """Trains on keyframes with person boxes; each test set provides its own evaluator.

    Args:
        names: catalogue names or description files of all datasets used; each is loaded once.
    """

    record_name = "keyframe with a person box"
    _datasets: Mapping[str, DetectionDataset]

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: DatasetCatalog.get_as(name, DetectionDataset, _NEEDS) for name in names})

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[DetectionRecord], DetectionMapper]:
        if not cfg.DATASETS.TRAIN:
            raise UserError("DATASETS.TRAIN is empty; name a dataset to train on, or use --eval-only")
        share, seed = cfg.DATASETS.TRAIN_SHARE, cfg.DATASETS.TRAIN_SHARE_SEED
        parts = [
            keyframe_share(self._records(cfg, name, cfg.DATASETS.TRAIN_BOXES), share, seed)
            for name in cfg.DATASETS.TRAIN
        ]
        # ConcatDataset only needs the length and items of its parts.
        records = (
            parts[0] if len(parts) == 1 else cast(Sequence[DetectionRecord], ConcatDataset(cast(Any, parts)))
        )
        if not len(records):
            raise UserError(
                f"the training data has no {self.record_name} (DATASETS.TRAIN, DATASETS.TRAIN_BOXES)"
            )
        return records, DetectionMapper.from_config(cfg, is_train=True)

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[DetectionRecord], DetectionMapper]:
        return self._records(cfg, name, cfg.DATASETS.TEST_BOXES), DetectionMapper.from_config(
            cfg, is_train=False
        )

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> Evaluator[Any, Any]:
        """The dataset's own; all of them write their detections in AVA's format, which tools read."""
        dataset = self._datasets[name]
        own = dataset.evaluator(cfg, output_dir)
        if isinstance(own, DetectionCollector):
            return own
        return WithDetections(own, dataset.metadata.class_names, output_dir, dataset.metadata.name)

    def pictures(self, cfg: CfgNode) -> ScorePictures:
        """Detections on the first test set, or on the training data if there is none."""
        name = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN][0]
        boxes = cfg.DATASETS.TEST_BOXES if cfg.DATASETS.TEST else cfg.DATASETS.TRAIN_BOXES
        mapper = DetectionMapper.from_config(cfg, is_train=False)
        class_names = self._datasets[name].metadata.class_names
        return ScorePictures(
            self._records(cfg, name, boxes), mapper, class_names, "detections", draw_predictions
        )

    def _records(self, cfg: CfgNode, name: str, boxes: str) -> Sequence[DetectionRecord]:
        return self._datasets[name].records(boxes=boxes, min_score=cfg.DATASETS.PERSON_SCORE_THRESH)
