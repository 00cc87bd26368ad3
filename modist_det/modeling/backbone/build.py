"""``build_backbone``: the backbone that a config names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from ...core import CfgNode, add_section
from ..registry import BACKBONE_REGISTRY, lookup
from .base import Backbone

__all__ = ["backbone_classes", "build_backbone", "description_of", "keys_of"]

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

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
        if keys := _answer(backbone.config_of, tensors):
            return {"MODEL.BACKBONE.NAME": name, **keys}
    return {}


def description_of(tensors: Mapping[str, Tensor]) -> str:
    """The name of the class of the backbone with these parameters, and :meth:`Backbone.describe`; ``""``: none."""
    texts = ((name, _answer(backbone.describe, tensors)) for name, backbone in backbone_classes())
    return next((f"{name}, {text}" for name, text in texts if text), "")


def _answer(
    question: Callable[[Mapping[str, Tensor]], Answer], tensors: Mapping[str, Tensor]
) -> Answer | None:
    try:
        return question(tensors)
    except Exception as error:  # the shapes of a damaged file can raise anything
        logger.warning("%s cannot read these shapes: %r", question.__qualname__, error)
        return None
