"""A loss: the focal loss, which turns the gradient away from what is easy (Lin et al. 2017, arXiv 1708.02002)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modist_det.core import NOT_NEGATIVE, CfgNode, Key, add_section
from modist_det.modeling.registry import LOSS_REGISTRY

add_section("MODEL.FOCAL_LOSS", GAMMA=Key(2.0, NOT_NEGATIVE))  # 0: binary cross-entropy


@LOSS_REGISTRY.register()
class FocalLoss:
    """``(1 - p)^gamma * -log p``, p the probability of the truth; the mean over the classes of each row.

    A loss without settings may be a plain function.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    @classmethod
    def from_config(cls, cfg: CfgNode) -> FocalLoss:
        return cls(cfg.MODEL.FOCAL_LOSS.GAMMA)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, K) and targets (N, K) of 0 and 1 -> one value per row (N,); their mean is taken elsewhere."""
        logits, targets = logits.float(), targets.float()
        truth = F.logsigmoid(logits * (2 * targets - 1))
        # Below a gamma of 1, the power has an infinite slope at 0, where targets are met, and 0 times infinity is NaN.
        easy = (1 - truth.exp()).clamp(min=torch.finfo(truth.dtype).tiny)
        return (-(easy**self.gamma) * truth).mean(dim=1)
