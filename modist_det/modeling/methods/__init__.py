"""Self-supervised methods, which train a visual backbone on unlabelled videos."""

from .base import PretrainingMethod, Views, backbone_prefixes
from .byol import BYOL
from .masked import MAEST, VideoMAE
from .masked_hiera import HieraMAE
from .modist import MoDist
from .motion_regression import MotionRegression
from .pathways import PathwayMethod
from .simclr import SimCLR
from .umt import UMTStudent

__all__ = [
    "BYOL",
    "MAEST",
    "HieraMAE",
    "MoDist",
    "MotionRegression",
    "PathwayMethod",
    "PretrainingMethod",
    "SimCLR",
    "UMTStudent",
    "VideoMAE",
    "Views",
    "backbone_prefixes",
]
