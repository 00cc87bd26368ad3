"""Training and evaluation mode of torch modules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

__all__ = ["kept_modes"]


@contextlib.contextmanager
def kept_modes(module: nn.Module) -> Iterator[None]:
    """Whatever the block calls, ``eval`` or ``train``: afterwards each module inside is in the mode in which it was."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
