"""Losses for action scores: ``(logits (N, K), targets) -> float32 (N,)``, one value per row.

They are computed in float32, even under autocast. :func:`mean_over_ranks` averages over rows, which may be distributed
unevenly over processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import NOT_NEGATIVE, SHARE, CfgNode, Key, ListOf, add_section
from ...utils.comm import all_reduce_mean, get_world_size
from ...utils.errors import UserError
from ..registry import LOSS_REGISTRY, lookup

__all__ = [
    "ClassBalancedBCE",
    "FocalBCE",
    "Loss",
    "bce_with_logits",
    "build_loss",
    "cross_entropy",
    "mean_over_ranks",
]

add_section(
    "MODEL.LOSS",
    NAME="bce_with_logits",
    WEIGHT=Key(1.0, NOT_NEGATIVE),
    LABEL_SMOOTHING=Key(0.0, SHARE),  # classification: share of a target spread over all classes
    # Of FocalBCE: less weight for easy targets, and the weight of positive ones (negative: 1 - ALPHA).
    GAMMA=Key(2.0, NOT_NEGATIVE),
    ALPHA=Key(0.25, SHARE),
    # Of ClassBalancedBCE: positive training samples of each class, and the effect of each further one.
    CLASS_COUNTS=Key([], ListOf(int, limit=NOT_NEGATIVE)),
    BETA=Key(0.999, SHARE),
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


@LOSS_REGISTRY.register()
class FocalBCE:
    """Focal loss (Lin et al. 2017, equation 5): binary cross-entropy with little weight for targets that are met.

    Like :func:`bce_with_logits`, averaged over the K classes of each row.

    Args:
        gamma: the weight of a target that has probability p is (1 - p)^gamma.
        alpha: in [0, 1], weight of positive targets; negative ones have 1 - alpha.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25) -> None:
        self.gamma, self.alpha = gamma, alpha

    @classmethod
    def from_config(cls, cfg: CfgNode) -> FocalBCE:
        return cls(cfg.MODEL.LOSS.GAMMA, cfg.MODEL.LOSS.ALPHA)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits, targets = logits.float(), targets.float()
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        scores = logits.sigmoid()
        # Not 0, whose power has no gradient for gamma < 1.
        missing = (scores + targets - 2 * scores * targets).clamp(min=torch.finfo(torch.float32).tiny)
        weights = 1 - self.alpha + (2 * self.alpha - 1) * targets
        return (weights * missing**self.gamma * losses).mean(dim=1)


@LOSS_REGISTRY.register()
class ClassBalancedBCE:
    """Binary cross-entropy with more weight for rare classes (Cui et al. 2019, equation 4).

    A class with n positive samples has a weight in proportion to (1 - beta) / (1 - beta^n); the mean weight is 1. A
    class without samples has that of one sample. Otherwise as :func:`bce_with_logits`.

    Args:
        counts: n of each of the K classes.
        beta: in [0, 1); 0: all classes weigh the same, near 1: in proportion to 1 / n.

    Raises:
        UserError: no ``counts``, ``beta`` 1, or counts for another number of classes than the logits have.
    """

    def __init__(self, counts: Sequence[int], beta: float = 0.999) -> None:
        if not counts or beta == 1:
            raise UserError(
                "the loss ClassBalancedBCE takes the number of positive training samples of each class in "
                f"MODEL.LOSS.CLASS_COUNTS (it has {len(counts)}) and a MODEL.LOSS.BETA below 1 (it is {beta:g})"
            )
        samples = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
        weights = (1 - beta) / (1 - beta**samples)
        self.weights = (weights / weights.mean()).float()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> ClassBalancedBCE:
        return cls(cfg.MODEL.LOSS.CLASS_COUNTS, cfg.MODEL.LOSS.BETA)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        if logits.shape[1] != len(self.weights):
            raise UserError(
                f"MODEL.LOSS.CLASS_COUNTS has {len(self.weights)} counts, but the model has {logits.shape[1]} classes"
            )
        self.weights = self.weights.to(logits.device)  # copied once
        losses = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
        return (self.weights * losses).mean(dim=1)


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
