"""What the jobs import; loaded once, before they are forked."""

from __future__ import annotations

import torch

__all__ = ["preload"]


def preload() -> None:
    """Make sure that no thread runs that a fork would not have."""
    torch.set_num_threads(1)
