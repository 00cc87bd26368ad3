"""Checkpoints of runs, weights of other code bases and of the model zoo.

``zoo://`` and ``torchvision://`` are known as paths once it is imported. Each part is imported when it is first used,
so that the catalogue of published weights needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names
from . import handlers as handlers

if TYPE_CHECKING:
    from .checkpointer import Checkpointer
    from .load import LoadReport, load_weights

__all__ = ["Checkpointer", "LoadReport", "load_weights"]

__getattr__ = lazy_names(
    __name__, {"Checkpointer": "checkpointer", "LoadReport": "load", "load_weights": "load"}
)
