"""A backbone: clips cut into patches, and two layers in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from modist_det.core import COUNT, CfgNode, Key, ListOf, add_section
from modist_det.modeling.backbone import Backbone
from modist_det.modeling.registry import BACKBONE_REGISTRY

# The keys of MODEL.PATCH_BACKBONE: defaults, whose types they keep, and limits.
add_section(
    "MODEL.PATCH_BACKBONE",
    WIDTH=Key(32, COUNT),
    PATCH=Key([2, 8, 8], ListOf(int, 3, COUNT)),  # (T, H, W); H and W alike
)


@BACKBONE_REGISTRY.register()
class PatchBackbone(Backbone):
    """One convolution over patches that do not overlap, and one layer in each of them."""

    def __init__(self, in_channels: int, width: int, patch: Sequence[int]) -> None:
        super().__init__()
        self.patch = tuple(patch)
        self.embed = nn.Conv3d(in_channels, width, self.patch, self.patch)
        self.mix = nn.Conv3d(width, width, 1)
        # What heads must know of the maps.
        self.out_channels = (width,)
        self.temporal_strides = (self.patch[0],)
        self.spatial_stride = self.patch[1]

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PatchBackbone:
        node = cfg.MODEL.PATCH_BACKBONE
        return cls(len(cfg.MODEL.PIXEL_MEAN), node.WIDTH, node.PATCH)

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Which settings these weights need, so that errors can name them; ``{}``: they are not of this class."""
        if not {"embed.weight", "mix.weight"} <= tensors.keys():
            return {}
        width, _, *patch = tensors["embed.weight"].shape
        return {"MODEL.PATCH_BACKBONE.WIDTH": width, "MODEL.PATCH_BACKBONE.PATCH": patch}

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> one map (B, width, T / patch, H / patch, W / patch), sizes rounded up."""
        missing = [-size % step for size, step in zip(clip.shape[2:], self.patch, strict=True)]
        padded = F.pad(clip, (0, missing[2], 0, missing[1], 0, missing[0]))
        return [self.mix(self.embed(padded).relu()).relu()]
