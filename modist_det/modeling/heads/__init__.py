"""Heads: feature maps -> logits and scores."""

from .build import build_head
from .classification import ClassificationHead
from .roi_action import RoIActionHead
from .x3d import X3DHead

__all__ = ["ClassificationHead", "RoIActionHead", "X3DHead", "build_head"]
