"""The loss of BYOL: distance between predicted and target directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cosine_regression"]


def cosine_regression(predictions: Tensor, targets: Tensor) -> Tensor:
    """Squared distance between the normalized vectors, ``2 - 2 cos``, in [0, 4] (Grill et al. 2020, equation 2).

    Computed in float32, even under autocast. Gradients flow only through ``predictions``.

    Args:
        predictions, targets: (B, D), of any length.

    Returns:
        float32 (B,).
    """
    with torch.autocast(predictions.device.type, enabled=False):
        cosine = F.cosine_similarity(predictions.float(), targets.detach().float(), dim=1)
    return 2 - 2 * cosine
