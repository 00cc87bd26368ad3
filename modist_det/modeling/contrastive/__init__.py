"""What contrastive learning adds to a network: a momentum copy, a queue of keys, work across processes."""

from .distributed import gather_keys, shuffle_batch, unshuffle_batch
from .momentum import annealed_momentum, momentum_copy, update_momentum_copy
from .queue import KeyQueue

__all__ = [
    "KeyQueue",
    "annealed_momentum",
    "gather_keys",
    "momentum_copy",
    "shuffle_batch",
    "unshuffle_batch",
    "update_momentum_copy",
]
