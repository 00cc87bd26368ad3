"""Puppets: a generated data set of people who do named actions, written as mp4 and AVA files.

``generate`` writes a set; the ordinary AVA reader reads it.
"""

from .contact import contact_sheet
from .generate import generate
from .labels import CLASS_NAMES, GESTURES, POSES
from .params import PRESETS, PuppetsParams

__all__ = ["CLASS_NAMES", "GESTURES", "POSES", "PRESETS", "PuppetsParams", "contact_sheet", "generate"]
