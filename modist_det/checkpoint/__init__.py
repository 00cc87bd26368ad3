"""Checkpoints of runs, and weights of other code bases."""

from .checkpointer import Checkpointer
from .load import LoadReport, load_weights

__all__ = ["Checkpointer", "LoadReport", "load_weights"]
