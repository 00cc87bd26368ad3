"""Exchange keys and clips between processes. With a single process, the functions only return their input."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor

from ...utils.comm import get_rank, get_world_size

__all__ = ["gather_keys", "gather_with_gradient", "shuffle_batch", "unshuffle_batch"]


@torch.no_grad()
def gather_keys(keys: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """The keys (B, ...) of all ranks, in order: (ranks * B, ...), the same on all ranks and without gradient.

    B must be the same on all ranks.

    Args:
        group: the ranks; None for all.
    """
    if get_world_size(group) == 1:
        return keys
    keys = keys.contiguous()
    parts = [torch.empty_like(keys) for _ in range(get_world_size(group))]
    dist.all_gather(parts, keys, group)
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
def shuffle_batch(clips: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, Tensor]:
    """Shuffle the clips of the ranks of a group; returns this rank's share and the order.

    This is shuffled BN (He et al. 2020, section 3.3).

    Query and key encoder then have batch statistics from different clips, so that the statistics do not reveal which
    key belongs to a query. The order is drawn on the group's first rank from torch's global generator.

    Args:
        clips: (B, ...), with the same B on all ranks.
        group: the ranks; None for all.

    Returns:
        Clips (B, ...), and the order (ranks * B,): shuffled clip i of the whole batch is clip ``order[i]``.
    """
    order = torch.randperm(len(clips) * get_world_size(group), device=clips.device)
    if get_world_size(group) == 1:
        return clips[order], order
    dist.broadcast(order, dist.get_global_rank(group, 0) if group else 0, group)
    return gather_keys(clips, group)[_share(order, group)], order


@torch.no_grad()
def unshuffle_batch(keys: Tensor, order: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Keys (B, ...) of shuffled clips -> the keys of this rank's clips in their order before :func:`shuffle_batch`."""
    return gather_keys(keys, group)[_share(torch.argsort(order), group)]


def _share(order: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """This rank's part of an order over the batches of the group."""
    return order.view(get_world_size(group), -1)[get_rank(group)]
