"""Losses for action scores: ``(logits (N, K), targets) -> float32 (N,)``, one value per row.

They are computed in float32, even under autocast. :func:`mean_over_ranks` averages over rows, which may be distributed
unevenly over processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import NOT_NEGATIVE, SHARE, CfgNode, Key, add_section
from ...utils.comm import all_reduce_mean, get_world_size
from ..registry import LOSS_REGISTRY, lookup

__all__ = ["Loss", "bce_with_logits", "build_loss", "cross_entropy", "mean_over_ranks"]

add_section(
    "MODEL.LOSS",
    NAME="bce_with_logits",
    WEIGHT=Key(1.0, NOT_NEGATIVE),
    LABEL_SMOOTHING=Key(0.0, SHARE),  # classification: share of a target spread over all classes
)

Loss = Callable[[Tensor, Tensor], Tensor]


@LOSS_REGISTRY.register()
def bce_with_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over the K classes of each row.

    Args:
        logits: (N, K).
        targets: (N, K) in [0, 1]; several classes in a row may be 1.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    return losses.mean(dim=1)


@LOSS_REGISTRY.register()
def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with softmax.

    Args:
        logits: (N, K).
        targets: integer class ids (N,), from 0; or non-negative (N, K): each row, divided by its sum, is the target
            distribution. The classes of a multi-hot row share the probability; a row without classes has loss 0.
    """
    if targets.dim() == 1:
        return F.cross_entropy(logits.float(), targets.long(), reduction="none")
    targets = targets.float()
    targets = targets / targets.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return F.cross_entropy(logits.float(), targets, reduction="none")


def build_loss(cfg: CfgNode) -> Loss:
    """The loss ``cfg.MODEL.LOSS.NAME``: a function, or a class that is built from the config."""
    loss = lookup(LOSS_REGISTRY, cfg.MODEL.LOSS.NAME, "MODEL.LOSS.NAME")
    return cast(Any, loss).from_config(cfg) if isinstance(loss, type) else loss


def mean_over_ranks(losses: Tensor) -> Tensor:
    """Sum over this process's rows, divided by the mean number of rows per process.

    Data-parallel training averages gradients over processes. With this divisor, the result is the gradient of the mean
    over the rows of all processes, as in a single process with all rows. Without any rows, loss and gradients are 0.
    All processes must call this function, even those without rows. It does not synchronize with the device.

    Args:
        losses: (N,), N >= 0.
    """
    if get_world_size() == 1:
        return losses.sum() / max(len(losses), 1)
    # Filled on the device: copying a tensor made from a Python number would synchronize.
    rows = all_reduce_mean(torch.full((), len(losses), dtype=torch.float32, device=losses.device))
    return losses.sum() / rows.clamp(min=1 / get_world_size())
