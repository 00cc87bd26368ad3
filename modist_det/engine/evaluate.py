"""Evaluate a model on the test sets of a config."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import LoadReport, load_weights
from ..checkpoint.checkpointer import Checkpointer
from ..checkpoint.settings import unlike_settings
from ..core import CfgNode
from ..data.bad_videos import BadVideoMonitor, describe_bad_videos
from ..data.build import TestLoader, build_test_loader, stack_samples
from ..evaluation.evaluator import Evaluator, inference_on_dataset
from ..modeling import PretrainingMethod, build_model
from ..structures.class_facts import ClassFacts, check_same_classes
from ..structures.samples import Collate
from ..tasks import Task
from ..tasks.base import Mapper
from ..utils import comm
from ..utils.errors import UserError
from .precision import autocast_factory
from .setup import evaluation_folder, write_config

__all__ = [
    "TestSet",
    "autocast_factory",
    "build_test_sets",
    "checkpoint_folder",
    "evaluate",
    "evaluate_only",
    "make_test_loader",
    "place_model",
    "start_from_weights",
]

logger = logging.getLogger(__name__)


def place_model(cfg: CfgNode, model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device and its 3D convolution weights to the configured memory format."""
    memory_format = torch.channels_last_3d if cfg.MODEL.CHANNELS_LAST else torch.preserve_format
    model = model.to(device)
    for parameter in model.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
    return model


def start_from_weights(
    model: nn.Module, path: str | os.PathLike, cfg: CfgNode, classes: ClassFacts | None = None
) -> LoadReport:
    """Load a checkpoint into ``model``, or into its backbone if it is a pretraining model.

    Differences between ``cfg`` and the config of the weights that tensor shapes do not reveal are logged. ``classes``
    are the classes of the model's outputs; see :func:`~modist_det.checkpoint.load_weights`.
    """
    method = model if isinstance(model, PretrainingMethod) else None
    report = load_weights(method.pretrained_backbone if method else model, path, classes=classes)
    logger.info("%s", report)
    for line in unlike_settings(cfg, report.config):
        logger.warning("%s: %s", path, line)
    if method:
        method.weights_loaded()
    return report


def checkpoint_folder(cfg: CfgNode) -> Path:
    """The folder of a run's checkpoints."""
    return Path(cfg.OUTPUT_DIR) / "checkpoints"


@dataclass(frozen=True)
class TestSet:
    """One of DATASETS.TEST, read and checked; can be evaluated repeatedly."""

    __test__ = False  # not a test case, despite its name

    title: str
    loader: TestLoader
    evaluator: Evaluator[Any, Any]


def make_test_loader(
    cfg: CfgNode, records: Sequence[Any], mapper: Mapper, stack: Collate = stack_samples
) -> TestLoader:
    """A loader of this rank's share of a test set, configured by ``TEST`` and ``DATALOADER``."""
    return build_test_loader(
        records,
        mapper,
        stack=stack,
        batch_size=cfg.TEST.BATCH_SIZE,
        seed=cfg.SEED,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        prefetch_factor=cfg.DATALOADER.PREFETCH_FACTOR,
        pin_memory=cfg.DATALOADER.PIN_MEMORY,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )


def build_test_sets(cfg: CfgNode, task: Task) -> list[TestSet]:
    """Read and check DATASETS.TEST. Called before training, so that errors in test sets are found early.

    Raises:
        UserError: files of a test set are missing or malformed, or it has nothing to evaluate.
    """
    test_sets = []
    for name in cfg.DATASETS.TEST:
        records, mapper = task.test_data(cfg, name)
        if not len(records):
            raise UserError(f"dataset {name} has nothing to evaluate: no {task.record_name}")
        loader = make_test_loader(cfg, records, mapper, task.collate)
        evaluator = task.evaluator(cfg, name, evaluation_folder(cfg))
        test_sets.append(TestSet(task.title(name), loader, evaluator))
    return test_sets


def evaluate(
    cfg: CfgNode,
    test_sets: Sequence[TestSet],
    model: nn.Module,
    device: torch.device,
    iteration: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluate ``model`` on each test set; returns metrics by title.

    Raises:
        UserError: more clips than DATALOADER.MAX_BAD_VIDEO_RATE cannot be read, or none can.
    """
    results = {}
    if test_sets:
        write_config(cfg, evaluation_folder(cfg))
    for test_set in test_sets:
        monitor = BadVideoMonitor(cfg.DATALOADER.MAX_BAD_VIDEO_RATE)
        progress = f"evaluating on {test_set.title}" + (
            "" if iteration is None else f" after {iteration} steps"
        )
        with autocast_factory(cfg, device)():
            results[test_set.title] = inference_on_dataset(
                model,
                monitor.watch(test_set.loader),
                test_set.evaluator,
                num_clips=test_set.loader.num_clips,
                title=progress,
            )
        if sum(comm.all_gather(monitor.asked - monitor.failed)) == 0:
            raise UserError(
                f"{test_set.title}: no clip could be read, so there is no result: "
                f"{describe_bad_videos(monitor.reasons.items())}"
            )
    return results


def evaluate_only(cfg: CfgNode, task: Task, device: torch.device) -> dict[str, dict[str, Any]]:
    """Evaluate MODEL.WEIGHTS or the last checkpoint in OUTPUT_DIR; returns metrics by test set."""
    if not cfg.DATASETS.TEST:
        raise UserError("--eval-only, but DATASETS.TEST is empty")
    weights = cfg.MODEL.WEIGHTS or Checkpointer(checkpoint_folder(cfg)).last()
    if not weights:
        raise UserError(
            f"--eval-only needs weights: set MODEL.WEIGHTS to a checkpoint (none is in {checkpoint_folder(cfg)})"
        )
    test_sets = build_test_sets(cfg, task)
    model = build_model(cfg)
    report = start_from_weights(model, weights, cfg)
    report.require_complete()
    if (classes := task.class_facts()) is not None:
        if report.classes is not None:
            check_same_classes(report.classes, classes)
        else:
            # Weights of other projects and of early releases have no class facts.
            level = logging.WARNING if report.config else logging.INFO
            logger.log(
                level, "%s has no class names: its classes are assumed to be those of the data", weights
            )
    return evaluate(cfg, test_sets, place_model(cfg, model, device), device)
