"""Scores of the model reach the samples that they are of."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from modist_det.tasks.pictures import ScorePictures


class NumberModel(nn.Module):
    """Scores are the number in each sample's id; in training mode it would fail."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(1, 1).eval()

    def forward(self, batch):
        assert not any(module.training for module in self.modules())
        assert not torch.is_grad_enabled()
        return [{"scores": torch.tensor([float(identity)])} for identity in batch["id"]]


def sample(record, rng):
    """Every other one is wider, so that batches of one size mix the order."""
    return {"id": str(record), "video": torch.zeros(3, 1, 2, 2 + record % 2, dtype=torch.uint8)}


def test_scores_of_evenly_spread_samples():
    seen = []

    def draw(samples, scores, class_names):
        seen.append(([s["id"] for s in samples], torch.cat(list(scores)).tolist(), class_names))
        return np.zeros((1, 1, 3), np.uint8)

    pictures = ScorePictures(range(10), sample, {1: "run"}, "runs", draw, count=4)
    model = NumberModel().train()
    model.frozen.eval()
    assert list(pictures(model, 7)) == ["runs"]
    assert seen == [(["0", "3", "6", "9"], [0.0, 3.0, 6.0, 9.0], {1: "run"})]
    assert model.training and not model.frozen.training

    assert ScorePictures([], sample, {}, "runs", draw)(model, 7) == {}
