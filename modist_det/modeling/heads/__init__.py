"""Heads: feature maps -> logits and scores."""

from .acar import ACARHead
from .attentive import AttentiveHead
from .build import build_head
from .classification import ClassificationHead
from .feature_bank import FeatureBank, FeatureBankHead, NonLocalOperator
from .roi_action import RoIActionHead
from .x3d import X3DHead

__all__ = [
    "ACARHead",
    "AttentiveHead",
    "ClassificationHead",
    "FeatureBank",
    "FeatureBankHead",
    "NonLocalOperator",
    "RoIActionHead",
    "X3DHead",
    "build_head",
]
