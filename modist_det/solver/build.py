"""Optimizers and their parameter groups."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import nn

from ..core import NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, Limit, ListOf, add_section
from ..utils.errors import UserError
from .lars import LARS

__all__ = ["build_optimizer", "clip_gradients", "lr_scales", "parameter_groups"]

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
    # Of transformers: the learning rate of a block is this share of the next one's; 1: the same for all.
    LAYER_DECAY=Key(1.0, Limit(0, 1, open_low=True)),
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


# Positions and tokens of transformers.
_TABLES = ("pos_embed", "cls_token", "mask_token")
_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.")


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    weight_decay_norm: float,
    weight_decay_bias: float,
    layer_decay: float = 1.0,
) -> list[dict]:
    """The trainable parameters in groups of equal weight decay and learning rate.

    Parameters of normalization layers get ``weight_decay_norm``; other biases and factors of channels, positions and
    class tokens ``weight_decay_bias``; and the rest ``weight_decay``. Shared parameters are listed once. The order
    within a group is that of ``model.modules()``.

    Args:
        layer_decay: groups get the entry ``lr_scale``, a factor for the learning rate (see :func:`lr_scales`).

    Raises:
        UserError: ``layer_decay`` is not 1, and the backbone is no sequence of ``blocks``.
    """
    scales = lr_scales(model, layer_decay) if layer_decay != 1 else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if isinstance(module, _NORM_LAYERS):
                decay = weight_decay_norm
            elif parameter.dim() == 1 or name.startswith(_TABLES):
                decay = weight_decay_bias
            else:
                decay = weight_decay
            scale = scales.get(f"{prefix}.{name}", 1.0)
            groups.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": params, "weight_decay": decay} | ({"lr_scale": scale} if scales else {})
        for (decay, scale), params in groups.items()
    ]


def lr_scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """Factors for the learning rate by the layer of a transformer: name of a parameter -> factor.

    The layers of a backbone of L ``blocks`` are: 0, the patch convolution, positions and class token; i + 1, block i;
    L + 1, its last norm and all other parts of the model. The factor is ``layer_decay ** (L + 1 - layer)`` (BEiT, Bao
    et al. 2022).

    Raises:
        UserError: the model has no such backbone.
    """
    names = [name for name, _ in model.named_parameters()]
    blocks = {name: int(match[1]) for name in names if (match := _BLOCK.match(name))}
    if not blocks:
        raise UserError(
            "SOLVER.LAYER_DECAY is for transformers, but the backbone has no blocks; set it to 1.0"
        )
    last = max(blocks.values()) + 2
    first = tuple(f"backbone.{part}" for part in (*_TABLES, "patch_embed"))
    layers = {
        name: blocks[name] + 1 if name in blocks else 0 if name.startswith(first) else last for name in names
    }
    return {name: layer_decay ** (last - layer) for name, layer in layers.items()}


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``cfg.SOLVER`` for the trainable parameters of ``model``, with BASE_LR."""
    solver = cfg.SOLVER
    decays = (solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_BIAS)
    groups = parameter_groups(model, *decays, layer_decay=solver.LAYER_DECAY)
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
