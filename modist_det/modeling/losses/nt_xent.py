"""NT-Xent, the loss of SimCLR: InfoNCE with the other samples of the batch as negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.comm import get_rank
from ..contrastive.distributed import gather_with_gradient

__all__ = ["NTXent", "nt_xent"]


class NTXent(NamedTuple):
    """Results of :func:`nt_xent`: means over this process's rows, float32, on the device.

    Attributes:
        loss: the loss, with gradient.
        positive_similarity: cosine between the two views of a sample.
        accuracy: share of rows that are closer to their other view than to all other rows.
    """

    loss: Tensor
    positive_similarity: Tensor
    accuracy: Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> NTXent:
    """``-log exp(z_i.z_j / t) / sum_{k != i} exp(z_i.z_k / t)`` over the 2 N views of all processes (Chen et al. 2020,
    equation 1), averaged over this process's 2 B rows.

    Computed in float32, even under autocast. Gradients flow through both views, including those of other processes.

    Args:
        first, second: (B, D), rows of length 1; row i of both is one sample. B must be the same on all ranks.
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
        # The other view of row i is B rows later or earlier.
        positives = offset + (rows + count // 2) % count
        loss = F.cross_entropy(others / temperature, positives)
    with torch.no_grad():
        accuracy = (others.argmax(dim=1) == positives).float().mean()
        return NTXent(loss, similarity[rows, positives].mean(), accuracy)
