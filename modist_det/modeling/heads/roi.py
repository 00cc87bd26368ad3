"""``RoIHead``: RoIAlign and scores, shared by the heads for person boxes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import roi_align

from ...core import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone
from .linear import LinearHead

__all__ = ["RoIHead"]


class RoIHead(LinearHead):
    """Base of the heads that score person boxes.

    Args:
        in_channels: of the last layer.
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
        in_channels: int,
        num_classes: int,
        spatial_stride: int,
        resolution: int = 7,
        sampling_ratio: int = 0,
        aligned: bool = True,
        dropout: float = 0.5,
        activation: str = "sigmoid",
        init_std: float = 0.01,
    ) -> None:
        super().__init__(in_channels, num_classes, dropout, activation, init_std)
        self.spatial_stride = spatial_stride
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    @classmethod
    def arguments(cls, cfg: CfgNode, backbone: Backbone) -> dict[str, Any]:
        """The constructor's arguments from a config. Subclasses add their own."""
        if not backbone.spatial_stride:
            raise UserError(
                f"{cls.__name__} needs a feature map, but the backbone gives one cell for the whole clip "
                "(set FEATURES map in its section of MODEL)"
            )
        node = cfg.MODEL.HEAD
        return {
            "in_channels": backbone.out_channels,
            "num_classes": cfg.MODEL.NUM_CLASSES,
            "spatial_stride": backbone.spatial_stride,
            "resolution": node.ROI_RESOLUTION,
            "sampling_ratio": node.ROI_SAMPLING_RATIO,
            "aligned": node.ROI_ALIGNED,
            "dropout": node.DROPOUT,
            "activation": node.ACTIVATION,
            "init_std": node.INIT_STD,
        }

    def align(self, image: Tensor, rois: Tensor) -> Tensor:
        """Maps (B, C, H, W) and rois (N, 5) -> the maximum over the bins of each box (N, C), at least float32."""
        # Even under autocast: in half precision, box coordinates would be off by pixels.
        dtype = torch.promote_types(image.dtype, torch.float32)
        bins = roi_align(
            image.to(dtype),
            rois.to(dtype),
            output_size=self.resolution,
            spatial_scale=1 / self.spatial_stride,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
        return bins.amax(dim=(2, 3))

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (N, K) -> scores (N, K) in [0, 1], float32."""
        return self.activate(logits)
