"""What belongs together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modist_det.core import CfgNode
from modist_det.tasks.base import TASK_REGISTRY, Task, complete_num_classes
from modist_det.utils.errors import UserError

from .data import FeatureMapper, Features, Recording, pad
from .evaluator import SegmentEvaluator


class TemporalLocalization(Task):
    """``DATASETS.TRAIN`` and ``TEST`` name JSON files."""

    record_name = "recording"  # in messages
    collate = staticmethod(pad)

    def __init__(self, cfg: CfgNode) -> None:
        self.datasets = {
            name: Features.read(Path(name)) for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
        }

    def complete_config(self, cfg: CfgNode) -> None:
        complete_num_classes(cfg, {name: len(d.classes) for name, d in self.datasets.items()})
        first = next(iter(self.datasets.values())).recordings[0]
        cfg.MODEL.SEGMENT_NET.DIM = np.load(first.path, mmap_mode="r").shape[1]

    def train_data(self, cfg: CfgNode) -> tuple[list[Recording], FeatureMapper]:
        if len(cfg.DATASETS.TRAIN) != 1:
            raise UserError(f"TASK {cfg.TASK} trains on one file in DATASETS.TRAIN, not {cfg.DATASETS.TRAIN}")
        return self.test_data(cfg, cfg.DATASETS.TRAIN[0])

    def test_data(self, cfg: CfgNode, name: str) -> tuple[list[Recording], FeatureMapper]:
        return self.datasets[name].recordings, FeatureMapper(self.datasets[name])

    def title(self, name: str) -> str:
        return Path(name).stem

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> SegmentEvaluator:
        node = cfg.TEST.SEGMENTS
        return SegmentEvaluator(self.datasets[name], output_dir / "segments.json", node.THRESHOLD, node.IOU)


@TASK_REGISTRY.register()
def temporal_localization(cfg: CfgNode) -> TemporalLocalization:
    """``TASK: temporal_localization``."""
    return TemporalLocalization(cfg)
