"""A backbone from outside the package: clips in patches, and an MLP for each patch.

``python tools/run_net.py --import patch_backbone --cfg ...`` with ``MODEL.BACKBONE.NAME PatchBackbone``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from modist_det.core import COUNT, CfgNode, Key, ListOf, add_section
from modist_det.modeling.backbone import Backbone
from modist_det.modeling.registry import BACKBONE_REGISTRY

add_section(
    "MODEL.PATCH_BACKBONE",
    WIDTH=Key(32, COUNT),
    PATCH=Key([2, 8, 8], ListOf(int, 3, COUNT)),  # (T, H, W); H and W alike
)


@BACKBONE_REGISTRY.register()
class PatchBackbone(Backbone):
    """One convolution over patches that do not overlap, and a layer in each of them."""

    def __init__(self, in_channels: int, width: int, patch: Sequence[int]) -> None:
        super().__init__()
        self.patch = tuple(patch)
        self.embed = nn.Conv3d(in_channels, width, self.patch, self.patch)
        self.mix = nn.Conv3d(width, width, 1)
        self.out_channels = (width,)
        self.temporal_strides = (self.patch[0],)
        self.spatial_stride = self.patch[1]

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PatchBackbone:
        node = cfg.MODEL.PATCH_BACKBONE
        return cls(len(cfg.MODEL.PIXEL_MEAN), node.WIDTH, node.PATCH)

    def forward(self, clip: Tensor) -> list[Tensor]:
        missing = [-size % step for size, step in zip(clip.shape[2:], self.patch, strict=True)]
        padded = F.pad(clip, (0, missing[2], 0, missing[1], 0, missing[0]))
        return [self.mix(self.embed(padded).relu()).relu()]
