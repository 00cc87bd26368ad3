"""Momentum encoders: copies of a network that follow it slowly (He et al. 2020, section 3.2)."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

__all__ = ["annealed_momentum", "momentum_copy", "update_momentum_copy"]

M = TypeVar("M", bound=nn.Module)


def momentum_copy(network: M) -> M:
    """A copy with equal weights and no gradients."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_momentum_copy(follower: nn.Module, network: nn.Module, momentum: float) -> None:
    """``follower = momentum * follower + (1 - momentum) * network``, parameters only, in place.

    Running statistics of normalization layers are the follower's own, from the keys it computes.
    """
    torch._foreach_lerp_(list(follower.parameters()), list(network.parameters()), 1 - momentum)


def annealed_momentum(start: float, progress: float) -> float:
    """From ``start`` to 1 along a half cosine: ``1 - (1 - start) (cos(pi p) + 1) / 2`` (Grill et al. 2020)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
