"""Backbones: clip -> feature maps, one per pathway."""

from .base import Backbone
from .build import build_backbone
from .resnet3d import ResNet3D
from .slowfast import SlowFast

__all__ = ["Backbone", "ResNet3D", "SlowFast", "build_backbone"]
