"""The network of a catalogue entry."""

from __future__ import annotations

from torch import nn

from ..modeling import build_backbone, build_model
from .entry import Entry
from .zoo import get_config

__all__ = ["build"]


def build(entry: Entry) -> nn.Module:
    """With fresh weights: a meta architecture, for pretrained backbones the backbone alone.

    Raises:
        UserError: it is a network of detectron2 (see :func:`~modist_det.model_zoo.get_config`).
    """
    if entry.builder:
        import torchvision

        return torchvision.models.get_model(entry.builder, weights=None, weights_backbone=None)
    cfg = get_config(entry.name, trained=False)
    return build_backbone(cfg) if entry.task == "pretraining" else build_model(cfg)
