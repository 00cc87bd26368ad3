"""Communication between the processes of a run. Every function also works with a single process."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

__all__ = [
    "all_gather",
    "all_reduce_mean",
    "broadcast_object",
    "gather",
    "get_local_rank",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "machine_group",
    "synchronize",
]


_machines: dict[int, dist.ProcessGroup] = {}  # by number of processes


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size(group: dist.ProcessGroup | None = None) -> int:
    """Number of processes, of all or of a group."""
    return dist.get_world_size(group) if _active() else 1


def get_rank(group: dist.ProcessGroup | None = None) -> int:
    """This process's number among all or within a group."""
    return dist.get_rank(group) if _active() else 0


def get_local_rank() -> int:
    """Rank among the processes on this machine, as set by torchrun and our launcher."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _active() else 0


def machine_group() -> dist.ProcessGroup | None:
    """The processes on this machine, as torchrun and our launcher count them; None if these are all of the run.

    The first call must be made by all processes.
    """
    size = int(os.environ.get("LOCAL_WORLD_SIZE", "0")) if _active() else 0
    if size in (0, get_world_size()) or get_world_size() % size:
        return None
    if size not in _machines:
        _machines[size] = dist.new_subgroups(size)[0]
    return _machines[size]


def is_main_process() -> bool:
    return get_rank() == 0


def synchronize() -> None:
    """Wait for all processes."""
    if get_world_size() > 1:
        dist.barrier()


def gather(obj: Any) -> list[Any]:
    """The objects of all ranks, in order, on the main process; ``[]`` on the others."""
    if get_world_size() == 1:
        return [obj]
    received = [None] * get_world_size() if is_main_process() else None
    dist.gather_object(obj, received, dst=0)
    return received or []


def all_gather(obj: Any) -> list[Any]:
    """The objects of all ranks, in order, on every process."""
    if get_world_size() == 1:
        return [obj]
    received: list[Any] = [None] * get_world_size()
    dist.all_gather_object(received, obj)
    return received


def broadcast_object(obj: Any) -> Any:
    """The main process's object, on every process."""
    if get_world_size() == 1:
        return obj
    box = [obj]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def all_reduce_mean(tensor: torch.Tensor) -> torch.Tensor:
    """Mean over ranks of a tensor with the same shape on all of them, on its device and without host sync."""
    if get_world_size() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / get_world_size()
