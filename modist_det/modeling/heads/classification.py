"""``ClassificationHead``: class scores of a whole clip."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import CfgNode
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY
from .linear import LinearHead

__all__ = ["ClassificationHead"]


@HEAD_REGISTRY.register()
class ClassificationHead(LinearHead):
    """Average pooling of each pathway, then a linear layer.

    In training, the average is over the whole map. At test time, it is over time and a sliding spatial window (larger
    test crops have several positions), and scores are averaged over the positions, as in PySlowFast's fully
    convolutional testing.

    Args:
        in_channels: of each pathway.
        num_classes: K.
        window: side of the window, in cells: the size of the map for a training crop. 0: the whole map.
        dropout, activation, init_std: as in :class:`LinearHead`.
    """

    task = "classification"

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        window: int = 0,
        dropout: float = 0.5,
        activation: str = "softmax",
        init_std: float = 0.01,
    ) -> None:
        super().__init__(sum(in_channels), num_classes, dropout, activation, init_std)
        self.window = window

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> ClassificationHead:
        node = cfg.MODEL.HEAD
        return cls(
            in_channels=backbone.out_channels,
            num_classes=cfg.MODEL.NUM_CLASSES,
            window=math.ceil(cfg.INPUT.CROP_SIZE / backbone.spatial_stride) if backbone.spatial_stride else 0,
            dropout=node.DROPOUT,
            activation=node.ACTIVATION,
            init_std=node.INIT_STD,
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_p, T_p, H, W) -> logits (B, P, K) at P positions (one in training)."""
        averages = torch.cat([self.average(feature) for feature in features], dim=1)
        return self.classify(averages.flatten(2).transpose(1, 2))

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (B, P, K) -> scores (B, K) in [0, 1], float32, averaged over positions."""
        return self.activate(logits).mean(dim=1)

    def average(self, feature: Tensor) -> Tensor:
        """Map (B, C, T, H, W) -> average at each position of the window (B, C, H', W'), 1x1 in training."""
        image = feature.mean(dim=2)
        if not self.window or self.training:
            return image.mean(dim=(2, 3), keepdim=True)
        height, width = image.shape[2:]
        return F.avg_pool2d(image, (min(self.window, height), min(self.window, width)), stride=1)
