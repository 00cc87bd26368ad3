"""MoDist pretraining: unlabelled videos in, a visual backbone out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..config import CfgNode
from ..data.catalog import DatasetCatalog
from ..data.datasets.unlabelled import VideoRecord
from ..data.pretraining import TwoClipMapper
from ..evaluation.evaluator import Evaluator
from ..motion.maps import motion_kind
from ..utils.errors import UserError
from .base import TASK_REGISTRY, Mapper
from .pictures import PretrainingPictures

__all__ = ["PretrainingTask", "pretraining"]


@TASK_REGISTRY.register()
def pretraining(cfg: CfgNode) -> PretrainingTask:
    """``TASK: pretraining``."""
    return PretrainingTask(cfg.DATASETS.TRAIN)


class PretrainingTask:
    """Two clips of each video of the training sets.

    Args:
        names: catalogue names or description files; data sets with ``video_records()``.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._records = _join([_video_records(name) for name in names])

    def complete_config(self, cfg: CfgNode) -> None:
        if cfg.DATASETS.TEST:
            raise UserError("DATASETS.TEST is set, but TASK pretraining has no evaluation; leave it empty")
        if cfg.MODEL.MODIST.CROSS_WEIGHT == 0 and cfg.MODEL.MODIST.MOTION_WEIGHT == 0:
            cfg.MOTION.ENABLED = False
        elif not cfg.MOTION.ENABLED:
            raise UserError(
                "MOTION.ENABLED is False, but terms of MODEL.MODIST use motion; for RGB alone set "
                "MODEL.MODIST.CROSS_WEIGHT and MOTION_WEIGHT to 0"
            )
        kind = motion_kind(cfg.MOTION.KIND)
        # One value is shown on three channels, as the authors of MoDist do.
        cfg.MODEL.MODIST.MOTION_MEAN = [kind.still / 255] * (3 if kind.channels == 1 else kind.channels)

    def title(self, name: str) -> str:
        return name

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[VideoRecord], Mapper]:
        if not self._records:
            raise UserError(
                "DATASETS.TRAIN is empty; name a data set, or a description file with 'format: videos'"
            )
        return self._records, TwoClipMapper.from_config(cfg)

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[VideoRecord], Mapper]:
        raise UserError(f"TASK pretraining does not evaluate on {name!r}")

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> Evaluator:
        raise UserError(f"TASK pretraining does not evaluate on {name!r}")

    def pictures(self, cfg: CfgNode) -> PretrainingPictures:
        return PretrainingPictures(*self.train_data(cfg), cfg.SEED)


def _video_records(name: str) -> list[VideoRecord]:
    dataset = DatasetCatalog.get(name)
    if not hasattr(dataset, "video_records"):
        raise UserError(
            f"data set {name} is a {type(dataset).__name__}, which does not list its videos; pretrain on the folder: "
            "a description file with the lines 'format: videos' and 'videos: FOLDER'"
        )
    return dataset.video_records()


def _join(parts: Sequence[Sequence[VideoRecord]]) -> list[VideoRecord]:
    """The records of all data sets, numbered through."""
    records = [record for part in parts for record in part]
    return [dataclasses.replace(record, number=number) for number, record in enumerate(records)]
