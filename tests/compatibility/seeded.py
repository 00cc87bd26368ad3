"""Weights and inputs that follow from their names alone, and checkpoints put together from a recording.

The values come from a hash of the name, so they depend on no random generator and not on the order in which a model is
built. Used by ``record.py`` and by the tests, with the code of two versions of the package.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modist_det.config import CfgNode


def pixels(name: str, *shape: int) -> Tensor:
    """uint8 of ``shape``."""
    data = hashlib.shake_256(name.encode()).digest(math.prod(shape))
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).reshape(shape)


def values(name: str, shape: Iterable[int]) -> Tensor:
    """float32 of ``shape``, evenly in [-1, 1)."""
    return pixels(name, *shape).float() / 128 - 1


def weight(name: str, dtype: str, shape: list[int]) -> Tensor:
    """A tensor of a state dict: of a size that keeps features and scores in an ordinary range."""
    if dtype == "int64":
        return pixels(name, *shape).long() % 4
    drawn = values(name, shape)
    if len(shape) > 2:
        return drawn * math.sqrt(6 / math.prod(shape[1:]))
    if len(shape) == 2:  # of linear layers, small enough for scores that are not all 0 or 1
        return drawn / (8 * math.sqrt(shape[1]))
    if name.endswith("running_var"):
        return 1 + drawn / 2
    return (1 if name.endswith("weight") else 0) + drawn / 4


def describe(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Name of a module -> its tensors: ``{"backbone.stem.conv": "weight 8 3 1 7 7"}``; float32 if no type is named."""
    described: dict[str, str] = {}
    for name, tensor in tensors.items():
        module, _, own = name.rpartition(".")
        dtype = str(tensor.dtype).removeprefix("torch.")
        text = " ".join([own, *([] if dtype == "float32" else [dtype]), *map(str, tensor.shape)])
        described[module] = f"{described[module]}, {text}" if module in described else text
    return described


def state_dict(described: dict[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Seeded tensors under the names of :func:`describe`; another ``prefix`` gives other values."""
    tensors = {}
    for module, texts in described.items():
        for text in texts.split(", "):
            own, *rest = text.split()
            name = f"{module}.{own}"
            dtype = "float32" if all(word.isdecimal() for word in rest) else rest.pop(0)
            tensors[name] = weight(prefix + name, dtype, [int(size) for size in rest])
    return tensors


def optimizer_entry(parameter: str, key: str, iteration: int, tensor: Tensor) -> Tensor:
    """What an optimizer keeps of a parameter, e.g. its ``momentum_buffer``."""
    if key == "step":
        return torch.tensor(float(iteration))
    drawn = values(f"{key} of {parameter}", tensor.shape) / 64
    return drawn.abs() if key == "exp_avg_sq" else drawn


def checkpoint(recorded: dict[str, Any], config: str) -> dict[str, Any]:
    """The content of a run's checkpoint: recorded names and facts, seeded tensors."""
    model = state_dict(recorded["model"])
    names = list(model)
    parameters = [names[index] for index in recorded["parameters"]]
    iteration = recorded["iteration"]
    numbers = iter(range(len(parameters)))
    groups = [
        group | {"params": list(itertools.islice(numbers, group["params"]))}
        for group in recorded["param_groups"]
    ]
    content = {
        "model": model,
        "optimizer": {
            "state": {
                index: {
                    key: optimizer_entry(name, key, iteration, model[name])
                    for key in recorded["optimizer_keys"]
                }
                for index, name in enumerate(parameters)
            },
            "param_groups": groups,
        },
        "scaler": recorded["scaler"],
        "iteration": iteration,
        "config": config,
        "run": recorded["run"],
    }
    if recorded["class_facts"]:
        content["class_facts"] = recorded["class_facts"]
    if recorded["ema_updates"]:
        content["ema"] = state_dict(recorded["model"], "ema ")
        content["ema_updates"] = recorded["ema_updates"]
    return content


def outputs(cfg: CfgNode, model: nn.Module) -> dict[str, list[float]]:
    """What a filled model gives for seeded clips: scores, or features and the losses of a training step.

    After the training step: the sum of the absolute values of each part of the state that steps change by themselves
    (statistics, queues, momentum copies).
    """
    frames, side = cfg.INPUT.NUM_FRAMES, cfg.INPUT.CROP_SIZE
    model.eval()
    with torch.no_grad():
        if cfg.TASK == "detection":
            boxes = [
                torch.tensor([[1.0, 2.0, 20.0, 30.0], [8.0, 0.0, 31.0, 16.0]]),
                torch.tensor([[4.0, 4.0, 28.0, 28.0]]),
            ]
            found = model({"video": pixels("clip", 2, 3, frames, side, side), "boxes": boxes})
            return {"scores": _numbers(row for rows in found for row in rows["scores"])}
        views = pixels("clip", 2, 2, 3, frames, side, side)
        found = model({"video": views})
        if cfg.TASK == "classification":
            return {"scores": _numbers(row["scores"] for row in found)}
        result = {"features": _numbers(row["features"] for row in found)}
        model.train()
        motion = pixels("motion", 2, 2, 1, cfg.MOTION.NUM_FRAMES, side, side)
        losses = model({"video": views, "motion": motion, "video_number": torch.tensor([1, 7])})
    result |= {name: _numbers([value]) for name, value in losses.items()}
    after: dict[str, float] = {}
    for name, tensor in model.state_dict().items():
        part = "after " + ".".join(name.split(".")[:2])
        after[part] = after.get(part, 0.0) + float(tensor.double().abs().sum())
    return result | {part: [float(f"{value:.9g}")] for part, value in after.items()}


def _numbers(rows: Iterable[Tensor]) -> list[float]:
    return [float(f"{value:.9g}") for row in rows for value in row.reshape(-1).tolist()]
