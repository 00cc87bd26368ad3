"""Models: registries, backbones, heads, losses and meta architectures."""

from .backbone import (
    X3D,
    Backbone,
    Hiera,
    MViT,
    ResNet3D,
    SlowFast,
    TorchvisionVideo,
    VideoViT,
    build_backbone,
)
from .heads import (
    ACARHead,
    AttentiveHead,
    ClassificationHead,
    FeatureBank,
    FeatureBankHead,
    RoIActionHead,
    X3DHead,
    build_head,
)
from .losses import build_loss
from .meta_arch import ActionDetector, VideoClassifier, build_model
from .methods import (
    BYOL,
    MAEST,
    HieraMAE,
    MoDist,
    MotionRegression,
    PretrainingMethod,
    SimCLR,
    UMTStudent,
    VideoMAE,
)
from .registry import BACKBONE_REGISTRY, HEAD_REGISTRY, LOSS_REGISTRY, META_ARCH_REGISTRY

__all__ = [
    "BACKBONE_REGISTRY",
    "BYOL",
    "HEAD_REGISTRY",
    "LOSS_REGISTRY",
    "MAEST",
    "META_ARCH_REGISTRY",
    "X3D",
    "ACARHead",
    "ActionDetector",
    "AttentiveHead",
    "Backbone",
    "ClassificationHead",
    "FeatureBank",
    "FeatureBankHead",
    "Hiera",
    "HieraMAE",
    "MViT",
    "MoDist",
    "MotionRegression",
    "PretrainingMethod",
    "ResNet3D",
    "RoIActionHead",
    "SimCLR",
    "SlowFast",
    "TorchvisionVideo",
    "UMTStudent",
    "VideoClassifier",
    "VideoMAE",
    "VideoViT",
    "X3DHead",
    "build_backbone",
    "build_head",
    "build_loss",
    "build_model",
]
