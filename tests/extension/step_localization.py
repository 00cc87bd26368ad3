"""A task from outside the package that reads no videos: temporal localization from files of features.

A training set is a folder with ``NAME.npy``, features float32 (T, D), and ``NAME.json``, a list of [first, after]: the
steps in which something happens. ``python tools/run_net.py --import step_localization --cfg ...`` with
``TASK: localization`` and ``MODEL.META_ARCHITECTURE: StepScorer``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modist_det.core import COUNT, CfgNode, Key, add_section
from modist_det.modeling.registry import META_ARCH_REGISTRY
from modist_det.structures.samples import Batch, Losses, Sample, Scores
from modist_det.tasks import TASK_REGISTRY, Task
from modist_det.utils import comm
from modist_det.utils.errors import UserError

add_section("MODEL.STEP_SCORER", FEATURES=Key(8, COUNT), WIDTH=Key(16, COUNT))


class StepSample(Sample):
    features: Tensor  # (T, D)
    happens: Tensor  # (T,) of 0 and 1


class StepBatch(Batch):
    features: Tensor  # (B, T, D), zeros after each one's end
    happens: list[Tensor]


def read_steps(path: Path, rng: np.random.Generator) -> StepSample:
    features = torch.from_numpy(np.load(path))
    happens = torch.zeros(len(features))
    for first, after in json.loads(path.with_suffix(".json").read_text()):
        happens[first:after] = 1
    return {"id": path.stem, "features": features, "happens": happens}


def pad_steps(samples: Sequence[StepSample]) -> dict:
    return {
        "id": [sample["id"] for sample in samples],
        "features": nn.utils.rnn.pad_sequence([sample["features"] for sample in samples], batch_first=True),
        "happens": [sample["happens"] for sample in samples],
    }


@META_ARCH_REGISTRY.register()
class StepScorer(nn.Module):
    """Two convolutions over time: a score for each step."""

    task = "localization"

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(features, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, 1, 3, padding=1)
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> StepScorer:
        return cls(cfg.MODEL.STEP_SCORER.FEATURES, cfg.MODEL.STEP_SCORER.WIDTH)

    def forward(self, batch: StepBatch) -> Losses | list[Scores]:
        device = next(self.parameters()).device
        rows = self.layers(batch["features"].to(device).transpose(1, 2))[:, 0]
        logits = [row[: len(happens)] for row, happens in zip(rows, batch["happens"], strict=True)]
        if not self.training:
            return [{"scores": row.sigmoid()} for row in logits]
        target = torch.cat(batch["happens"]).to(device)
        return {"loss_step": F.binary_cross_entropy_with_logits(torch.cat(logits), target)}


class StepAccuracy:
    """Share of the steps of which it is said rightly whether something happens."""

    def reset(self) -> None:
        self._right: dict[str, list[bool]] = {}

    def process(self, batch: StepBatch, predictions: Sequence[Scores]) -> None:
        for name, happens, prediction in zip(batch["id"], batch["happens"], predictions, strict=True):
            self._right[name] = ((prediction["scores"].cpu() >= 0.5) == happens.bool()).tolist()

    def evaluate(self) -> dict[str, float]:
        shards = comm.gather(self._right)
        if not comm.is_main_process():
            return {}
        return {"accuracy": float(np.mean([x for shard in shards for row in shard.values() for x in row]))}


@TASK_REGISTRY.register()
def localization(cfg: CfgNode) -> Task:
    return LocalizationTask()


class LocalizationTask(Task):
    record_name = "file of features"
    collate = staticmethod(pad_steps)

    def train_data(self, cfg):
        return [path for folder in cfg.DATASETS.TRAIN for path in _files(folder)], read_steps

    def test_data(self, cfg, name):
        return _files(name), read_steps

    def title(self, name: str) -> str:
        return Path(name).name

    def evaluator(self, cfg, name, output_dir) -> StepAccuracy:
        return StepAccuracy()


def _files(folder: str) -> list[Path]:
    files = sorted(Path(folder).glob("*.npy"))
    if not files:
        raise UserError(f"there is no file of features in {folder}")
    return files
