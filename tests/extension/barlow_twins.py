"""A self-supervised method: Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230), on two clips of each video."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modist_det.core import COUNT, NOT_NEGATIVE, CfgNode, Key, add_section
from modist_det.modeling import Backbone, build_backbone
from modist_det.modeling.clip_normalizer import ClipNormalizer
from modist_det.modeling.heads.projection import mlp, pool
from modist_det.modeling.methods import PretrainingMethod, Views
from modist_det.modeling.registry import META_ARCH_REGISTRY

add_section(
    "MODEL.BARLOW_TWINS",
    DIM=Key(128, COUNT),  # of a projection, and of the hidden layer before it
    REDUNDANCY=Key(0.005, NOT_NEGATIVE),  # weight of the correlations between different units
)


@META_ARCH_REGISTRY.register()
class BarlowTwins(PretrainingMethod):
    """Each unit of the projection agrees between both clips; different units are decorrelated."""

    def __init__(
        self, backbone: Backbone, normalizer: ClipNormalizer, dim: int = 128, redundancy: float = 0.005
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.projector = mlp(sum(backbone.out_channels), dim, dim, norm="BN")
        self.redundancy = redundancy

    @classmethod
    def from_config(cls, cfg: CfgNode) -> BarlowTwins:
        node = cfg.MODEL.BARLOW_TWINS
        normalizer = ClipNormalizer(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.MODEL.INPUT_FORMAT)
        return cls(build_backbone(cfg), normalizer, node.DIM, node.REDUNDANCY)

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        """Two clips of each video, no motion maps."""
        return Views(clips=2, motion=False)

    def forward(self, batch: dict[str, Any]) -> Any:
        if not self.training:
            return self.features(batch["video"])
        first, second = (self._project(clip) for clip in batch["video"].unbind(1))
        correlation = first.T @ second / len(first)
        same = (correlation.diagonal() - 1).square().sum()
        between = correlation.square().sum() - correlation.diagonal().square().sum()
        return {
            "loss_same": same,
            "loss_between": self.redundancy * between,
            "correlation": correlation.diagonal().mean().detach(),  # not called loss...: only logged
        }

    def features(self, video: Tensor) -> list[dict[str, Tensor]]:
        """What the pretrained backbone is judged by: (B, 3, T, H, W), or V clips of each video in one more axis."""
        clips = video if video.dim() == 6 else video.unsqueeze(1)
        features = [pool(self.backbone(self.normalizer(clip))) for clip in clips.unbind(1)]
        return [{"features": row} for row in torch.stack(features).mean(dim=0).float()]

    def _project(self, clip: Tensor) -> Tensor:
        """uint8 (B, 3, T, H, W) -> (B, dim), each unit with mean 0 and deviation 1 over the batch."""
        projection = self.projector(pool(self.backbone(self.normalizer(clip)))).float()
        return nn.functional.batch_norm(projection, None, None, training=True)
