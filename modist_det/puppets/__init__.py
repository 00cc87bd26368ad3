"""Puppets: a generated dataset of drawn people performing named actions, written as mp4 videos and AVA files.

``generate`` writes a set, which the ordinary AVA reader reads.
"""

from .contact import contact_sheet
from .generate import generate
from .labels import CLASS_NAMES, GESTURES, POSES
from .params import PRESETS, PuppetsParams

__all__ = ["CLASS_NAMES", "GESTURES", "POSES", "PRESETS", "PuppetsParams", "contact_sheet", "generate"]
