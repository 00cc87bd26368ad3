"""Momentum encoders: copies of networks that are updated slowly (He et al. 2020, section 3.2)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

__all__ = ["MomentumEncoders", "annealed_momentum", "update_momentum_copy"]


class MomentumEncoders(nn.ModuleDict):
    """Copies of encoders, by name. They start equal, have no gradients, and change only in :meth:`follow`.

    Args:
        encoders: the networks to copy and follow.
        momentum: share of the old weights kept in an update (at the start of training, if ``anneal``).
        anneal: increase the momentum to 1 along a cosine; see :meth:`set_progress`.
        passes: calls of :meth:`follow` per update of the encoders (gradient accumulation). Together they have the
            effect of one call.
    """

    def __init__(
        self, encoders: nn.ModuleDict, momentum: float, anneal: bool = False, passes: int = 1
    ) -> None:
        super().__init__(
            {name: copy.deepcopy(encoder).requires_grad_(False) for name, encoder in encoders.items()}
        )
        self.start_momentum = self.momentum = momentum
        self.anneal = anneal
        self.passes = passes

    def follow(self, encoders: nn.ModuleDict, name: str) -> None:
        """Move copy ``name`` towards its encoder."""
        update_momentum_copy(self[name], encoders[name], self.momentum ** (1 / self.passes))

    def restart(self, encoders: nn.ModuleDict) -> None:
        """Reset the copies to the encoders."""
        self.load_state_dict(cast(Mapping[str, torch.Tensor], encoders.state_dict()))

    def set_progress(self, progress: float) -> None:
        """Set the training progress in [0, 1], which determines an annealed momentum."""
        if self.anneal:
            self.momentum = annealed_momentum(self.start_momentum, progress)


@torch.no_grad()
def update_momentum_copy(follower: nn.Module, network: nn.Module, momentum: float) -> None:
    """``follower = momentum * follower + (1 - momentum) * network``, parameters only, in place.

    The follower has its own running statistics in normalization layers, from the keys that it computes.
    """
    torch._foreach_lerp_(list(follower.parameters()), list(network.parameters()), 1 - momentum)


def annealed_momentum(start: float, progress: float) -> float:
    """From ``start`` to 1 along a half cosine: ``1 - (1 - start) (cos(pi p) + 1) / 2`` (Grill et al. 2020)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
