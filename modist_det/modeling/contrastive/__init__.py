"""Parts for contrastive learning: momentum encoders, key queues and communication between processes."""

from .distributed import gather_keys, gather_with_gradient, shuffle_batch, unshuffle_batch
from .momentum import MomentumEncoders, annealed_momentum, update_momentum_copy
from .queue import KeyQueue

__all__ = [
    "KeyQueue",
    "MomentumEncoders",
    "annealed_momentum",
    "gather_keys",
    "gather_with_gradient",
    "shuffle_batch",
    "unshuffle_batch",
    "update_momentum_copy",
]
