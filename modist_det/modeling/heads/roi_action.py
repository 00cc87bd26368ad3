"""``RoIActionHead``: action scores for each person box (SlowFast's detection head)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from ...core import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY
from .linear import LinearHead

__all__ = ["RoIActionHead"]


@HEAD_REGISTRY.register()
class RoIActionHead(LinearHead):
    """For each pathway the average over time, RoIAlign and the maximum over its bins; then a linear layer.

    Args:
        in_channels: of each pathway.
        num_classes: K.
        spatial_stride: pixels of the clip per cell of the feature maps.
        resolution: number of RoIAlign bins in each direction.
        sampling_ratio: sampling points per bin in each direction; 0: one per cell, rounded up.
        aligned: pixel centers are at .5, as in detectron2 since 2020; ``False``: as in Caffe2.
        dropout, activation, init_std: as in :class:`LinearHead`.
    """

    task = "detection"

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
    ) -> None:
        super().__init__(sum(in_channels), num_classes, dropout, activation, init_std)
        self.spatial_stride = spatial_stride
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> RoIActionHead:
        if not backbone.spatial_stride:
            raise UserError(
                "RoIActionHead needs a feature map, but the backbone gives one cell for the whole clip "
                "(set FEATURES map in its section of MODEL)"
            )
        node = cfg.MODEL.HEAD
        return cls(
            in_channels=backbone.out_channels,
            num_classes=cfg.MODEL.NUM_CLASSES,
            spatial_stride=backbone.spatial_stride,
            resolution=node.ROI_RESOLUTION,
            sampling_ratio=node.ROI_SAMPLING_RATIO,
            aligned=node.ROI_ALIGNED,
            dropout=node.DROPOUT,
            activation=node.ACTIVATION,
            init_std=node.INIT_STD,
        )

    def forward(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Logits for each box.

        Args:
            features: maps (B, C_p, T_p, H, W), one per pathway.
            rois: float32 (N, 5), N >= 0: index of the clip in the batch, then x1, y1, x2, y2 in pixels of the clip.

        Returns:
            (N, K).
        """
        pooled = [self._pool(feature, rois) for feature in features]
        return self.classify(torch.cat(pooled, dim=1))

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (N, K) -> scores (N, K) in [0, 1], float32."""
        return self.activate(logits)

    def _pool(self, feature: Tensor, rois: Tensor) -> Tensor:
        # float32 even under autocast: in half precision, box coordinates would be off by pixels.
        bins = roi_align(
            feature.mean(dim=2, dtype=torch.float32),
            rois,
            output_size=self.resolution,
            spatial_scale=1 / self.spatial_stride,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
        return bins.amax(dim=(2, 3))
