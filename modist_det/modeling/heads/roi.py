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

__all__ = ["RoIHead", "exclusive_logits"]


class RoIHead(LinearHead):
    """Base of the heads that score person boxes.

    Args:
        in_channels: of the last layer.
        num_classes: K.
        spatial_stride: pixels of the clip per cell of the feature maps.
        resolution: number of RoIAlign bins in each direction.
        sampling_ratio: sampling points per bin in each direction; 0: one per cell, rounded up.
        aligned: pixel centers are at .5, as in detectron2 since 2020; ``False``: as in Caffe2.
        dropout, activation, init_std, mlp: as in :class:`LinearHead`.
        exclusive_classes: the first classes, of which a person has one, as AVA's poses: see :func:`exclusive_logits`.
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
        mlp: bool = False,
        exclusive_classes: int = 0,
    ) -> None:
        super().__init__(in_channels, num_classes, dropout, activation, init_std, mlp)
        if exclusive_classes == 1 or exclusive_classes > num_classes:
            raise UserError(
                f"MODEL.HEAD.EXCLUSIVE_CLASSES is {exclusive_classes}, but must be 0 or from 2 to the {num_classes} "
                "classes"
            )
        self.spatial_stride = spatial_stride
        self.resolution = resolution
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.exclusive_classes = exclusive_classes

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
            "mlp": node.MLP,
            "exclusive_classes": node.EXCLUSIVE_CLASSES,
        }

    def classify(self, features: Tensor) -> Tensor:
        return exclusive_logits(super().classify(features), self.exclusive_classes)

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


def exclusive_logits(logits: Tensor, count: int) -> Tensor:
    """Logits (N, K) whose sigmoid is, for the first ``count`` classes, the softmax of them.

    So losses and scores of independent classes become those of ACAR-Net's and LFB's pose classes. In float32 at least.
    """
    if not count:
        return logits
    poses = logits[:, :count].to(torch.promote_types(logits.dtype, torch.float32))
    others = poses[:, None, :].masked_fill(
        torch.eye(count, dtype=torch.bool, device=poses.device), -torch.inf
    )
    return torch.cat([poses - others.logsumexp(dim=2), logits[:, count:].to(poses.dtype)], dim=1)
