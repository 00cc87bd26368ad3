"""Keys and clips across processes. With one process each function returns what it was given."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor

from ...utils.comm import get_rank, get_world_size

__all__ = ["gather_keys", "gather_with_gradient", "shuffle_batch", "unshuffle_batch"]


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


def gather_with_gradient(rows: Tensor) -> Tensor:
    """The rows (B, ...) of all ranks, (ranks * B, ...) in order of rank; gradient flows back to every rank's rows.

    B is the same on every rank. Where each rank's loss is a mean over its own rows, averaging the ranks' gradients
    (DistributedDataParallel) gives the gradient of the mean over all rows.
    """
    if get_world_size() == 1:
        return rows
    return torch.cat(differentiable.all_gather(rows.contiguous()))


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
