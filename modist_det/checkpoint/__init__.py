"""Save and resume runs, and load weights from other code bases and the model zoo.

Importing this package registers the path prefixes ``zoo://``, ``torchvision://`` and ``hf://``. Its modules are
imported on first use, so that the catalogue of published weights needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names
from . import handlers as handlers

if TYPE_CHECKING:
    from .checkpointer import Checkpointer
    from .load import LoadReport, load_weights

__all__ = ["Checkpointer", "LoadReport", "load_weights"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Checkpointer": "checkpointer", "LoadReport": "load", "load_weights": "load"}
)
