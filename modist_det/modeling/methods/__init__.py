"""Self-supervised methods, by the contract of ``base.py``: unlabelled videos in, a visual backbone out."""

from .base import PretrainingMethod, Views, backbone_prefixes
from .byol import BYOL
from .modist import MoDist
from .pathways import PathwayMethod
from .simclr import SimCLR

__all__ = ["BYOL", "MoDist", "PathwayMethod", "PretrainingMethod", "SimCLR", "Views", "backbone_prefixes"]
