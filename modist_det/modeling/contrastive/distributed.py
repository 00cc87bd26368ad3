"""Exchange keys and clips between processes. With a single process, the functions only return their input."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor

from ...utils.comm import get_rank, get_world_size

__all__ = ["gather_keys", "gather_with_gradient", "shuffle_batch", "unshuffle_batch"]


@torch.no_grad()
def gather_keys(keys: Tensor) -> Tensor:
    """The keys (B, ...) of all ranks, in order: (ranks * B, ...), the same on all ranks and without gradient.

    B must be the same on all ranks.
    """
    if get_world_size() == 1:
        return keys
    parts = [torch.empty_like(keys) for _ in range(get_world_size())]
    dist.all_gather(parts, keys.contiguous())
    return torch.cat(parts)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """The rows (B, ...) of all ranks, in order: (ranks * B, ...). Gradients flow back to the rows of all ranks.

    B must be the same on all ranks. If each rank's loss is the mean over its own rows, averaging gradients over ranks
    (DistributedDataParallel) gives the gradient of the mean over all rows.
    """
    if get_world_size() == 1:
        return rows
    return torch.cat(differentiable.all_gather(rows.contiguous()))


@torch.no_grad()
def shuffle_batch(clips: Tensor) -> tuple[Tensor, Tensor]:
    """Shuffle the clips of all ranks; returns this rank's share and the order (shuffled BN, He et al. 2020, section
    3.3).

    Query and key encoder then have batch statistics from different clips, so that the statistics do not reveal which
    key belongs to a query. The order is drawn on rank 0 from torch's global generator.

    Args:
        clips: (B, ...), with the same B on all ranks.

    Returns:
        Clips (B, ...), and the order (ranks * B,): shuffled clip i of the whole batch is clip ``order[i]``.
    """
    count = len(clips) * get_world_size()
    order = torch.randperm(count, device=clips.device)
    if get_world_size() == 1:
        return clips[order], order
    dist.broadcast(order, 0)
    return gather_keys(clips)[order.view(get_world_size(), -1)[get_rank()]], order


@torch.no_grad()
def unshuffle_batch(keys: Tensor, order: Tensor) -> Tensor:
    """Keys (B, ...) of shuffled clips -> the keys of this rank's clips in their order before :func:`shuffle_batch`."""
    place = torch.argsort(order)
    return gather_keys(keys)[place.view(get_world_size(), -1)[get_rank()]]
