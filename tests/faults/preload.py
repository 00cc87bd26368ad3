"""What the jobs import; loaded once, before they are forked."""

from __future__ import annotations

import torch

import modist_det.data.puppets
import modist_det.engine.launch
import modist_det.engine.run
import modist_det.inference.choose
import modist_det.inference.persons.extract
import modist_det.motion.extract
import modist_det.motion.sources  # noqa: F401

__all__ = ["preload"]


def preload() -> None:
    """Make sure that no thread runs that a fork would not have."""
    torch.set_num_threads(1)
