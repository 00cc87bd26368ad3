"""LARS: SGD with a learning rate per layer, for large batches (You et al. 2017, arXiv 1708.03888)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["LARS"]


class LARS(torch.optim.SGD):
    """SGD with momentum that first multiplies the gradient ``g`` of a weight ``w``, including weight decay ``d``, by
    ``trust * |w| / (|g| + d |w|)``.

    One-dimensional parameters (biases, normalization layers) and parameters whose weight or gradient has norm 0 are not
    scaled. Norms are computed without synchronizing with the device.

    Args:
        params, lr, momentum, nesterov: as in :class:`torch.optim.SGD`; groups contain ``weight_decay``.
        trust: the trust coefficient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        trust: float = 0.001,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov)
        for group in self.param_groups:  # in the groups, so that it is saved in checkpoints
            group["trust"] = trust

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            _scale_gradients([p for p in group["params"] if p.grad is not None], **group)
            group["weight_decay"] = 0  # already in the gradients
        super().step()
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        return loss


def _scale_gradients(weights: list[Tensor], *, weight_decay: float, trust: float, **_: Any) -> None:
    """Add the weight decay to the gradients and scale those of layers, in place."""
    layers = [weight for weight in weights if weight.dim() > 1]
    factors = [_factor(weight, _gradient(weight), weight_decay, trust) for weight in layers]
    if weights and weight_decay:
        torch._foreach_add_([_gradient(weight) for weight in weights], weights, alpha=weight_decay)
    for weight, factor in zip(layers, factors, strict=True):
        _gradient(weight).mul_(factor)


def _factor(weight: Tensor, gradient: Tensor, weight_decay: float, trust: float) -> Tensor:
    norm, slope = weight.norm(), gradient.norm()
    return torch.where((norm > 0) & (slope > 0), trust * norm / (slope + weight_decay * norm), 1.0)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad
