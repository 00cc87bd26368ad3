"""``build_backbone``: the backbone that a config names."""

from __future__ import annotations

from ...core import CfgNode, add_section
from ..registry import BACKBONE_REGISTRY, lookup
from .base import Backbone

__all__ = ["build_backbone"]

add_section(
    "MODEL.BACKBONE",
    NAME="ResNet3D",
    FREEZE=False,  # no gradients, always in evaluation mode
    # BN normalizes with its stored statistics in training, too; its weights still learn.
    FREEZE_BN=False,
)


def build_backbone(cfg: CfgNode) -> Backbone:
    """The backbone ``cfg.MODEL.BACKBONE.NAME`` on the CPU, frozen as the config says.

    Raises:
        UserError: an unknown name, or settings that the backbone refuses.
    """
    backbone = lookup(BACKBONE_REGISTRY, cfg.MODEL.BACKBONE.NAME, "MODEL.BACKBONE.NAME").from_config(cfg)
    if cfg.MODEL.BACKBONE.FREEZE:
        return backbone.freeze()
    if cfg.MODEL.BACKBONE.FREEZE_BN:
        return backbone.fix_statistics()
    return backbone
