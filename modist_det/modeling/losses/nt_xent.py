"""NT-Xent, the loss of SimCLR: InfoNCE in which the other samples of the batch are the negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.comm import get_rank
from ..contrastive.distributed import gather_with_gradient

__all__ = ["NTXent", "nt_xent"]


class NTXent(NamedTuple):
    """What :func:`nt_xent` finds; means over this process's rows, float32, on the device.

    Attributes:
        loss: the loss, with gradient.
        positive_similarity: cosine of the two views of a sample.
        accuracy: share of rows nearer to their other view than to all other rows.
    """

    loss: Tensor
    positive_similarity: Tensor
    accuracy: Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> NTXent:
    """``-log exp(z_i.z_j / t) / sum_{k != i} exp(z_i.z_k / t)`` over the 2 N views of all processes (Chen et al. 2020,
    equation 1), the mean over this process's 2 B rows.

    Computed in float32, under autocast too. Gradient flows through both views, and to those of other processes.

    Args:
        first, second: (B, D), rows of length 1; row i of both is one sample. B is the same on every rank.
        temperature: t.
    """
    with torch.autocast(first.device.type, enabled=False):
        own = torch.cat([first.float(), second.float()])
        everyone = gather_with_gradient(own)
        count = len(own)
        rows = torch.arange(count, device=own.device)
        offset = get_rank() * count
        similarity = own @ everyone.T
        others = similarity.index_put((rows, offset + rows), similarity.new_tensor(-torch.inf))
        # The other view of row i is B rows further on, or back.
        positives = offset + (rows + count // 2) % count
        loss = F.cross_entropy(others / temperature, positives)
    with torch.no_grad():
        accuracy = (others.argmax(dim=1) == positives).float().mean()
        return NTXent(loss, similarity[rows, positives].mean(), accuracy)
