"""``build_model``: the model that a config names."""

from __future__ import annotations

from torch import nn

from ...config import CfgNode
from ..registry import META_ARCH_REGISTRY, lookup

__all__ = ["build_model"]


def build_model(cfg: CfgNode) -> nn.Module:
    """The meta architecture ``cfg.MODEL.META_ARCHITECTURE`` with fresh weights, on the CPU.

    Weights are drawn from torch's global generator. Moving the model to a device, its memory format
    and ``torch.compile`` are the caller's.

    Raises:
        UserError: an unknown name, ``MODEL.NUM_CLASSES`` of 0, or settings that a part refuses.
    """
    return lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE").from_config(cfg)
