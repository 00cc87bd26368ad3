"""Heads: feature maps -> logits and scores."""

from .attentive import AttentiveHead
from .build import build_head
from .classification import ClassificationHead
from .roi_action import RoIActionHead
from .x3d import X3DHead

__all__ = ["AttentiveHead", "ClassificationHead", "RoIActionHead", "X3DHead", "build_head"]
