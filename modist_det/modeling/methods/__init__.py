"""Self-supervised methods, which train a visual backbone on unlabelled videos."""

from .base import PretrainingMethod, Views, backbone_prefixes
from .byol import BYOL
from .modist import MoDist
from .pathways import PathwayMethod
from .simclr import SimCLR

__all__ = ["BYOL", "MoDist", "PathwayMethod", "PretrainingMethod", "SimCLR", "Views", "backbone_prefixes"]
