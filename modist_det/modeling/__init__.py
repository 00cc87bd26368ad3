"""Models: registries, backbones, heads, losses and meta architectures."""

from .backbone import X3D, Backbone, Hiera, ResNet3D, SlowFast, TorchvisionVideo, VideoViT, build_backbone
from .heads import ClassificationHead, RoIActionHead, X3DHead, build_head
from .losses import build_loss
from .meta_arch import ActionDetector, VideoClassifier, build_model
from .methods import BYOL, MoDist, PretrainingMethod, SimCLR
from .registry import BACKBONE_REGISTRY, HEAD_REGISTRY, LOSS_REGISTRY, META_ARCH_REGISTRY

__all__ = [
    "BACKBONE_REGISTRY",
    "BYOL",
    "HEAD_REGISTRY",
    "LOSS_REGISTRY",
    "META_ARCH_REGISTRY",
    "X3D",
    "ActionDetector",
    "Backbone",
    "ClassificationHead",
    "Hiera",
    "MoDist",
    "PretrainingMethod",
    "ResNet3D",
    "RoIActionHead",
    "SimCLR",
    "SlowFast",
    "TorchvisionVideo",
    "VideoClassifier",
    "VideoViT",
    "X3DHead",
    "build_backbone",
    "build_head",
    "build_loss",
    "build_model",
]
