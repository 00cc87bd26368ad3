"""Grad-CAM heat maps on a dataset's keyframes, and the share of them on people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import load_weights
from ..core import CfgNode
from ..data.catalog import DatasetCatalog
from ..data.datasets.detection import DetectionDataset
from ..data.mappers import DetectionMapper
from ..modeling import build_model
from ..structures.class_facts import check_same_classes
from ..utils.errors import UserError, nearest
from ..utils.files import check_is_file
from ..utils.progress import progress_bar
from ..utils.spread import evenly_spread
from ..visualization.keyframes import write_png
from .gradcam import Score, class_score, draw_heat_maps, energy_in_boxes, feature_norm, grad_cam

__all__ = ["compare_attention"]


def compare_attention(
    cfg: CfgNode,
    weights: Sequence[str | os.PathLike],
    dataset_name: str,
    out: str | os.PathLike,
    *,
    num_keyframes: int = 48,
    num_shown: int = 6,
    action: str = "",
) -> dict[str, tuple[float, float]]:
    """Grad-CAM of several checkpoints on the same keyframes: a PNG, and metrics at the keyframe itself; on the CPU.

    Args:
        cfg: of a detector whose backbone the checkpoints have.
        weights: checkpoints in any format; "": random weights, as a baseline.
        dataset_name: an AVA-style dataset with annotations.
        num_keyframes: number of evenly spaced keyframes to analyse.
        num_shown: number of these in the PNG.
        action: name of a class whose score is explained, of the annotated persons (detectors only); "": length of the
            pooled feature.

    Returns:
        Of each checkpoint the share of the map inside person boxes and the share of the frame's area that the boxes
        have, both means over the keyframes where the map is not 0 everywhere.

    Raises:
        UserError: files are missing or do not fit, there are no keyframes, or there is no such class.
    """
    if cfg.TASK != "detection":
        raise UserError(f"the config is for TASK {cfg.TASK}; give that of a detector with the same backbone")
    check_is_file(out)
    dataset = DatasetCatalog.get_as(dataset_name, DetectionDataset, "it has no annotated persons")
    channel = _channel(dataset, action) if action else -1
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or dataset.metadata.num_classes
    records = dataset.records()
    if not len(records):
        raise UserError(f"dataset {dataset_name} has no annotated keyframes")
    chosen = evenly_spread(len(records), num_keyframes)
    mapper = DetectionMapper.from_config(cfg, is_train=False)
    samples = [mapper(records[i], np.random.default_rng(0)) for i in chosen]
    shown = evenly_spread(len(samples), num_shown)
    metrics, heat_maps = {}, {}
    for name, path in _names(weights).items():
        torch.manual_seed(cfg.SEED)  # for random weights
        model = build_model(cfg)
        if path:
            report = load_weights(model, path)
            if action and report.classes is not None:
                check_same_classes(report.classes, dataset.metadata.class_facts)
        maps = _maps(model, samples, channel, name)
        middle = [m[:, m.shape[1] // 2 :][:, :1] for m in maps]
        energies = [energy_in_boxes(m, [sample["boxes"]]) for m, sample in zip(middle, samples, strict=True)]
        share, area = (torch.cat(column) for column in zip(*energies, strict=True))
        known = ~share.isnan()
        metrics[name] = (float(share[known].mean()), float(area[known].mean()))
        heat_maps[name] = maps
    size = samples[0]["video"].shape
    same = [i for i in shown if samples[i]["video"].shape == size]  # those that fit into one image
    write_png(
        out,
        draw_heat_maps(
            torch.stack([samples[i]["video"] for i in same]),
            {name: torch.cat([maps[i] for i in same]) for name, maps in heat_maps.items()},
            [samples[i]["boxes"] for i in same],
            [samples[i]["id"] for i in same],
        ),
    )
    return metrics


def _maps(model: Any, samples: Sequence[Any], channel: int, title: str) -> list[Tensor]:
    """(1, T, H, W) of each sample."""
    maps = []
    with progress_bar(title, "keyframe", len(samples)) as bar:
        for sample in samples:
            clip = model.normalizer(sample["video"].unsqueeze(0))
            score: Score = feature_norm
            if channel >= 0:
                boxes = sample["boxes"]
                rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
                score = class_score(model.head, channel, rois)
            maps.append(grad_cam(model.backbone, clip, score))
            bar.update()
    return maps


def _names(weights: Sequence[str | os.PathLike]) -> dict[str, str]:
    """Paths by unique names, made of as few of their last parts as possible."""
    paths = [os.fspath(path) for path in weights]
    if len(set(paths)) < len(paths):
        raise UserError("a checkpoint was given twice")
    parts = [Path(path).parts if path else ("fresh weights",) for path in paths]
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return {"/".join(part[-length:]): path for part, path in zip(parts, paths, strict=True)}


def _channel(dataset: DetectionDataset, action: str) -> int:
    names = dataset.metadata.class_names
    for number, name in names.items():
        if name == action:
            return number - 1
    raise UserError(
        f"dataset {dataset.metadata.name} has no class {action!r}{nearest(action, names.values())}"
    )
