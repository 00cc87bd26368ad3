"""``RoIActionHead``: action scores for each person box (SlowFast's detection head)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY
from .roi import RoIHead

__all__ = ["RoIActionHead", "extend_rois"]


@HEAD_REGISTRY.register()
class RoIActionHead(RoIHead):
    """For each pathway the average over time, RoIAlign and the maximum over its bins; then a linear layer.

    RoIAlign is linear, so an average over time after it would be the same.

    Args:
        in_channels: of each pathway.
        num_classes: K.
        temporal_pool: "avg" or "max" over time.
        global_feature: the maximum over the whole map, averaged to ``resolution`` x ``resolution`` bins, follows the
            box's feature (mmaction2's ``with_global``).
        box_extension: shares of width and height by which :func:`extend_rois` enlarges boxes at test time.
        others: as in :class:`~.roi.RoIHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        spatial_stride: int,
        resolution: int = 7,
        sampling_ratio: int = 0,
        aligned: bool = True,
        dropout: float = 0.5,
        activation: str = "sigmoid",
        init_std: float = 0.01,
        temporal_pool: str = "avg",
        global_feature: bool = False,
        box_extension: Sequence[float] = (0.0, 0.0),
        mlp: bool = False,
        exclusive_classes: int = 0,
    ) -> None:
        channels = sum(in_channels) * (2 if global_feature else 1)
        super().__init__(
            channels,
            num_classes,
            spatial_stride,
            resolution,
            sampling_ratio,
            aligned,
            dropout,
            activation,
            init_std,
            mlp,
            exclusive_classes,
        )
        if temporal_pool not in ("avg", "max"):
            raise UserError(f"MODEL.HEAD.TEMPORAL_POOL is {temporal_pool!r}; known: 'avg', 'max'")
        self.channels = channels
        self.temporal_pool = temporal_pool
        self.global_feature = global_feature
        self.box_extension = tuple(box_extension)

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> RoIActionHead:
        return cls(**cls.arguments(cfg, backbone))

    @classmethod
    def arguments(cls, cfg: CfgNode, backbone: Backbone) -> dict[str, Any]:
        node = cfg.MODEL.HEAD
        return super().arguments(cfg, backbone) | {
            "temporal_pool": node.TEMPORAL_POOL,
            "global_feature": node.GLOBAL_FEATURE,
            "box_extension": node.BOX_EXTENSION,
        }

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits for each box.

        Args:
            features: maps (B, C_p, T_p, H, W), one per pathway.
            rois: float32 (N, 5), N >= 0: index of the clip in the batch, then x1, y1, x2, y2 in pixels of the clip.

        Returns:
            (N, K).
        """
        return self.classify(self.pooled(features, rois))

    def pooled(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """The feature (N, C) of each box, of all pathways; maps and rois as in :meth:`forward`."""
        return torch.cat([self._pool(feature, rois) for feature in features], dim=1)

    def _pool(self, feature: Tensor, rois: Tensor) -> Tensor:
        # At least float32, as RoIAlign.
        dtype = torch.promote_types(feature.dtype, torch.float32)
        image = (
            feature.mean(dim=2, dtype=dtype) if self.temporal_pool == "avg" else feature.amax(dim=2).to(dtype)
        )
        pooled = self.align(image, rois)
        if not self.global_feature:
            return pooled
        whole = F.adaptive_avg_pool2d(image, self.resolution).amax(dim=(2, 3))
        return torch.cat([pooled, whole[rois[:, 0].long()]], dim=1)


def extend_rois(rois: Tensor, extension: Sequence[float], sizes: Tensor) -> Tensor:
    """Boxes enlarged by shares of their width and height, half of it on each side, and clipped to the image.

    As in VideoMAE's detector: a box includes its last pixel, so its width is x2 - x1 + 1, and the last
    coordinates are width - 1 and height - 1 of the image.

    Args:
        rois: (N, 5) as for :class:`RoIActionHead`.
        extension: of the width and of the height, such as (0.1, 0.05).
        sizes: (B, 2), or (1, 2) for all: width and height of each image, without padding.
    """
    corner, opposite = rois[:, 1:3], rois[:, 3:]
    margin = (opposite - corner + 1) * torch.tensor(extension).to(rois) / 2
    last = sizes.to(rois) - 1
    if len(sizes) > 1:
        last = last[rois[:, 0].long()]
    corner, opposite = (
        torch.minimum(point.clamp(min=0), last) for point in (corner - margin, opposite + margin)
    )
    return torch.cat([rois[:, :1], corner, opposite], dim=1)
