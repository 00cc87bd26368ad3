"""Heads: feature maps -> logits and scores."""

from .build import build_head
from .classification import ClassificationHead
from .roi_action import RoIActionHead

__all__ = ["ClassificationHead", "RoIActionHead", "build_head"]
