"""Make a feature bank: what a detector's head pools for each person of each keyframe of datasets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core import CfgNode
from ..data.bad_videos import BadVideoMonitor, describe_bad_videos
from ..engine.evaluate import make_test_loader, place_model, start_from_weights
from ..engine.precision import autocast_factory
from ..engine.setup import evaluation_folder, prepare_run
from ..evaluation.evaluator import inference_on_dataset
from ..modeling import ActionDetector, RoIActionHead, build_model
from ..modeling.meta_arch.action_detector import to_rois
from ..tasks import build_task
from ..utils.errors import UserError
from ..utils.files import atomic_path, check_is_file

__all__ = ["make_feature_bank"]

logger = logging.getLogger(__name__)


class _PooledPeople(nn.Module):
    """A detector up to its RoI head's pooling: features (N_i, C) of the boxes of each clip."""

    def __init__(self, model: ActionDetector, head: RoIActionHead) -> None:
        super().__init__()
        self.normalizer = model.normalizer
        self.backbone = model.backbone
        self.head = head

    def forward(self, batch: Any) -> list[dict[str, Tensor]]:
        clip = self.normalizer(batch["video"])
        people = self.head.pooled(self.backbone(clip), to_rois(batch["boxes"]).to(clip.device))
        return [{"features": rows} for rows in people.split([len(boxes) for boxes in batch["boxes"]])]


class _Collector:
    """Features by video and second; those of several keyframes of one second follow each other."""

    def __init__(self) -> None:
        self.bank: dict[str, dict[int, Tensor]] = {}

    def reset(self) -> None:
        """Several datasets are collected."""

    def process(self, batch: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> None:
        for video, second, prediction in zip(batch["video_id"], batch["second"], predictions, strict=True):
            seconds = self.bank.setdefault(video, {})
            key, rows = round(second), prediction["features"].half().cpu()
            seconds[key] = torch.cat([seconds[key], rows]) if key in seconds else rows

    def evaluate(self) -> dict[str, Any]:
        return {}


def make_feature_bank(cfg: CfgNode, out: Path) -> tuple[int, int, int]:
    """Write a file for ``MODEL.FEATURE_BANK.PATH``: video -> second -> float16 (n, C), the people of DATASETS.TEST.

    Boxes are those of ``DATASETS.TEST_BOXES``. The file can be read with ``torch.load(weights_only=True)``. Needs
    a single process.

    Args:
        cfg: of a detector with a RoIActionHead, the weights in MODEL.WEIGHTS.

    Returns:
        Numbers of videos, of people and of channels.

    Raises:
        UserError: another task or head, no datasets, or too many videos that cannot be read.
    """
    if cfg.TASK != "detection" or not cfg.DATASETS.TEST:
        raise UserError("a feature bank needs TASK detection, and the datasets in DATASETS.TEST")
    check_is_file(out)
    cfg = cfg.clone()
    cfg.DATASETS.TRAIN = []
    task = build_task(cfg)
    task.complete_config(cfg)
    cfg.freeze()
    device = prepare_run(cfg, evaluation_folder(cfg))
    model = build_model(cfg)
    if not isinstance(model, ActionDetector) or not isinstance(model.head, RoIActionHead):
        raise UserError(f"a feature bank needs MODEL.HEAD.NAME RoIActionHead, not {cfg.MODEL.HEAD.NAME}")
    if cfg.MODEL.WEIGHTS:
        start_from_weights(model, cfg.MODEL.WEIGHTS, cfg)
    else:
        logger.warning("MODEL.WEIGHTS is empty: these are the features of random weights")
    pooled = place_model(cfg, _PooledPeople(model, model.head), device)
    collector = _Collector()
    monitor = BadVideoMonitor(cfg.DATALOADER.MAX_BAD_VIDEO_RATE)
    for name in cfg.DATASETS.TEST:
        records, mapper = task.test_data(cfg, name)
        loader = make_test_loader(cfg, records, mapper, task.collate)
        with autocast_factory(cfg, device)():
            inference_on_dataset(
                pooled,
                monitor.watch(loader),
                collector,
                num_clips=loader.num_clips,
                title=f"features of {name}",
            )
    people = [rows for seconds in collector.bank.values() for rows in seconds.values()]
    if not people:
        raise UserError(f"there are no people to keep: {describe_bad_videos(monitor.reasons.items())}")
    with atomic_path(out) as temporary:
        torch.save(collector.bank, temporary)
    return len(collector.bank), sum(map(len, people)), people[0].shape[1]
