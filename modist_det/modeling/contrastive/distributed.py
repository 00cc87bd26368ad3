"""Keys and clips across processes. With one process each function returns what it was given."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from ...utils.comm import get_rank, get_world_size

__all__ = ["gather_keys", "shuffle_batch", "unshuffle_batch"]


@torch.no_grad()
def gather_keys(keys: Tensor) -> Tensor:
    """The keys (B, ...) of all ranks, (ranks * B, ...) in order of rank, equal on every rank.

    B is the same on every rank. No gradient flows.
    """
    if get_world_size() == 1:
        return keys
    parts = [torch.empty_like(keys) for _ in range(get_world_size())]
    dist.all_gather(parts, keys.contiguous())
    return torch.cat(parts)


@torch.no_grad()
def shuffle_batch(clips: Tensor) -> tuple[Tensor, Tensor]:
    """This rank's share of all ranks' clips in a random common order, and that order.

    So batch statistics of the key encoder come from other clips than those of the query encoder, which
    could otherwise tell a clip's own batch by them (shuffled BN, He et al. 2020, section 3.3). The order is
    drawn on rank 0 from torch's global generator.

    Args:
        clips: (B, ...), B the same on every rank.

    Returns:
        Clips (B, ...) and the order (ranks * B,): shuffled clip i of the whole batch is clip ``order[i]``.
    """
    count = len(clips) * get_world_size()
    order = torch.randperm(count, device=clips.device)
    if get_world_size() == 1:
        return clips[order], order
    dist.broadcast(order, 0)
    return gather_keys(clips)[order.view(get_world_size(), -1)[get_rank()]], order


@torch.no_grad()
def unshuffle_batch(keys: Tensor, order: Tensor) -> Tensor:
    """Keys (B, ...) of shuffled clips -> this rank's keys in the order before :func:`shuffle_batch`."""
    place = torch.argsort(order)
    return gather_keys(keys)[place.view(get_world_size(), -1)[get_rank()]]
