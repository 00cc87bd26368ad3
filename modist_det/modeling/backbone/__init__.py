"""Backbones: clip -> feature maps, one per pathway."""

from .base import Backbone
from .build import backbone_classes, build_backbone, description_of, keys_of
from .hiera import Hiera
from .mvit import MViT
from .resnet3d import ResNet3D
from .slowfast import SlowFast
from .torchvision_video import TorchvisionVideo
from .video_vit import VideoViT
from .x3d import X3D

__all__ = [
    "X3D",
    "Backbone",
    "Hiera",
    "MViT",
    "ResNet3D",
    "SlowFast",
    "TorchvisionVideo",
    "VideoViT",
    "backbone_classes",
    "build_backbone",
    "description_of",
    "keys_of",
]
