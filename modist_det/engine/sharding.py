"""Training with sharded weights (FSDP2): each process keeps a share of all weights, gradients and optimizer states.

The others' weights are gathered block by block, for the block's forward and backward pass. Checkpoints are those of
unsharded models. What earlier versions of torch lack is imported where it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..modeling.methods.pathways import MomentumMethod
from ..utils import comm
from ..utils.errors import UserError

__all__ = ["gathered", "shard_model", "shard_optimizer_state", "whole"]


def shard_model(model: nn.Module) -> None:
    """Replace the parameters of ``model`` by this process's shares of them, in place; all processes call this.

    The blocks of transformers (items of module lists named ``blocks``) are gathered one at a time, the rest together.

    Raises:
        UserError: the model changes weights outside of the optimizer, or torch is too old.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise UserError(
            f"DISTRIBUTED.STRATEGY fsdp needs torch 2.6 or later; this is {torch.__version__}"
        ) from error
    if isinstance(model, MomentumMethod):
        raise UserError(
            f"DISTRIBUTED.STRATEGY fsdp does not work with {type(model).__name__}'s momentum encoders: use ddp"
        )
    mesh = init_device_mesh(next(model.parameters()).device.type, (comm.get_world_size(),))
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "blocks" and isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)


def shard_optimizer_state(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state ``saved`` by an optimizer of whole parameters, for the same optimizer of sharded ones."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return saved | {
        "state": {
            number: {name: _shard_like(value, parameters[number]) for name, value in values.items()}
            for number, values in saved["state"].items()
        }
    }


def _shard_like(value: Any, parameter: Tensor) -> Any:
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(value, Tensor) and isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
    return value


def whole(state: Any) -> Any:
    """A nested ``state`` with whole tensors in place of shares, on the CPU; all processes call this, and the main
    process gets the tensors (the others ``None`` in their places)."""
    from torch.distributed.tensor import DTensor

    if isinstance(state, DTensor):
        tensor = state.full_tensor()
        return tensor.detach().cpu() if comm.is_main_process() else None
    if isinstance(state, dict):
        return {key: whole(value) for key, value in state.items()}
    return state


@contextlib.contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """In this context every process has all weights, so each may call the sharded ``model`` as often as it needs."""
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)
