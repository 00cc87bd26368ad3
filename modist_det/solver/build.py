"""Optimizers and their parameter groups."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..core import NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, Limit, ListOf, add_section
from ..utils.errors import UserError
from .lars import LARS

__all__ = ["build_optimizer", "clip_gradients", "parameter_groups"]

add_section(
    "SOLVER",
    OPTIMIZER="sgd",  # or "lars", "adamw"
    BASE_LR=Key(0.1, NOT_NEGATIVE),
    MOMENTUM=Key(0.9, SHARE),
    NESTEROV=True,
    # A layer's step is this share of its weights' norm, times the learning rate.
    LARS_TRUST=Key(0.001, POSITIVE),
    BETAS=Key([0.9, 0.999], ListOf(float, 2, Limit(0, 1, open_high=True))),  # AdamW
    WEIGHT_DECAY=Key(1e-4, NOT_NEGATIVE),
    WEIGHT_DECAY_NORM=Key(0.0, NOT_NEGATIVE),
    WEIGHT_DECAY_BIAS=Key(1e-4, NOT_NEGATIVE),
)
add_section(
    "SOLVER.CLIP_GRADIENTS",
    ENABLED=False,
    CLIP_TYPE="norm",  # of all gradients together, or "value"
    CLIP_VALUE=Key(1.0, POSITIVE),
)

_NORM_LAYERS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def parameter_groups(
    model: nn.Module, weight_decay: float, weight_decay_norm: float, weight_decay_bias: float
) -> list[dict]:
    """The trainable parameters in at most three groups, by weight decay.

    Parameters of normalization layers get ``weight_decay_norm``, other biases ``weight_decay_bias`` and the rest
    ``weight_decay``. Shared parameters are listed once. Groups with equal weight decay are merged; the order within a
    group is that of ``model.modules()``.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if isinstance(module, _NORM_LAYERS):
                decay = weight_decay_norm
            elif name == "bias":
                decay = weight_decay_bias
            else:
                decay = weight_decay
            groups.setdefault(decay, []).append(parameter)
    return [{"params": params, "weight_decay": decay} for decay, params in groups.items()]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``cfg.SOLVER`` for the trainable parameters of ``model``, with BASE_LR."""
    solver = cfg.SOLVER
    groups = parameter_groups(model, solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_BIAS)
    if not groups:
        raise UserError("the model has no trainable parameters; check MODEL.BACKBONE.FREEZE")
    momentum = {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV and solver.MOMENTUM > 0}
    if solver.OPTIMIZER == "sgd":
        return torch.optim.SGD(groups, lr=solver.BASE_LR, **momentum)
    if solver.OPTIMIZER == "lars":
        return LARS(groups, lr=solver.BASE_LR, trust=solver.LARS_TRUST, **momentum)
    if solver.OPTIMIZER == "adamw":
        return torch.optim.AdamW(groups, lr=solver.BASE_LR, betas=tuple(solver.BETAS))
    raise UserError(f"SOLVER.OPTIMIZER is {solver.OPTIMIZER!r}; known: 'sgd', 'lars', 'adamw'")


def clip_gradients(parameters: Iterable[nn.Parameter], clip_type: str, clip_value: float) -> None:
    """Clip the gradients in place by their total L2 norm (``"norm"``) or element by element (``"value"``)."""
    if clip_type == "norm":
        nn.utils.clip_grad_norm_(parameters, clip_value)
    elif clip_type == "value":
        nn.utils.clip_grad_value_(parameters, clip_value)
    else:
        raise UserError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip_type!r}; known: 'norm', 'value'")
