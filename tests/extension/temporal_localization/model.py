"""The model: two convolutions over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from modist_det.core import COUNT, CfgNode, Key, add_section
from modist_det.modeling.losses import Loss, build_loss, mean_over_ranks
from modist_det.modeling.registry import META_ARCH_REGISTRY

from .data import FeatureBatch

# Width of the input (0: the data's) and of the layer between; how many features a kernel sees.
add_section("MODEL.SEGMENT_NET", DIM=0, WIDTH=Key(32, COUNT), KERNEL=Key(5, COUNT))


@META_ARCH_REGISTRY.register()
class SegmentNet(nn.Module):
    """A score of each class at each feature."""

    task = "temporal_localization"

    def __init__(self, dim: int, width: int, kernel: int, num_classes: int, loss: Loss) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(dim, width, kernel, padding="same"), nn.ReLU(), nn.Conv1d(width, num_classes, 1)
        )
        self.loss = loss

    @classmethod
    def from_config(cls, cfg: CfgNode) -> SegmentNet:
        node = cfg.MODEL.SEGMENT_NET
        return cls(node.DIM, node.WIDTH, node.KERNEL, cfg.MODEL.NUM_CLASSES, build_loss(cfg))

    def forward(self, batch: FeatureBatch) -> Any:
        """Losses in training mode; in evaluation mode a dict for each recording, with ``scores`` (T, K)."""
        features = batch["features"].to(self.layers[0].weight.device)
        logits = self.layers(features.transpose(1, 2)).transpose(1, 2)
        if not self.training:
            pairs = zip(logits.sigmoid(), batch["lengths"], strict=True)
            return [{"scores": scores[:length]} for scores, length in pairs]
        real = torch.arange(logits.shape[1]) < torch.tensor(batch["lengths"])[:, None]
        losses = self.loss(logits[real], batch["targets"][real].to(logits.device))
        return {"loss_segments": mean_over_ranks(losses)}
