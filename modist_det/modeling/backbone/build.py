"""``build_backbone``: the backbone that a config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...core import CfgNode, add_section
from ..registry import BACKBONE_REGISTRY, lookup
from .base import Backbone

__all__ = ["backbone_classes", "build_backbone", "keys_of"]

add_section(
    "MODEL.BACKBONE",
    NAME="ResNet3D",
    FREEZE=False,  # no gradients, always in evaluation mode
    # BN normalizes with its stored statistics in training, too; its weights still learn.
    FREEZE_BN=False,
)


def build_backbone(cfg: CfgNode) -> Backbone:
    """The backbone ``cfg.MODEL.BACKBONE.NAME`` on the CPU, frozen if the config says so.

    Raises:
        UserError: an unknown name, or settings that the backbone rejects.
    """
    backbone = lookup(BACKBONE_REGISTRY, cfg.MODEL.BACKBONE.NAME, "MODEL.BACKBONE.NAME").from_config(cfg)
    if cfg.MODEL.BACKBONE.FREEZE:
        return backbone.freeze()
    if cfg.MODEL.BACKBONE.FREEZE_BN:
        return backbone.fix_statistics()
    return backbone


def backbone_classes() -> list[tuple[str, type[Backbone]]]:
    """The registered classes that are a :class:`Backbone`, by their names in ``MODEL.BACKBONE.NAME``."""
    return [(n, c) for n, c in BACKBONE_REGISTRY if isinstance(c, type) and issubclass(c, Backbone)]


def keys_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config keys, ``MODEL.BACKBONE.NAME`` first, of the backbone with these parameters; see
    :meth:`Backbone.config_of`."""
    for name, backbone in backbone_classes():
        if keys := backbone.config_of(tensors):
            return {"MODEL.BACKBONE.NAME": name, **keys}
    return {}
