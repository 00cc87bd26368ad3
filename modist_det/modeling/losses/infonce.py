"""InfoNCE, the loss of contrastive learning with one positive and many negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["InfoNCE", "info_nce"]


class InfoNCE(NamedTuple):
    """Results of :func:`info_nce`: means over the batch, float32, on the device.

    Attributes:
        loss: the loss, with gradient.
        positive_similarity: cosine between query and positive.
        negative_similarity: cosine between query and negatives.
        accuracy: share of queries that are closer to their positive than to all negatives.
    """

    loss: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor
    accuracy: Tensor


def info_nce(
    queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float, excluded: Tensor | None = None
) -> InfoNCE:
    """``-log exp(q.k / t) / (exp(q.k / t) + sum_n exp(q.n / t))``, averaged over the batch.

    Computed in float32, even under autocast. Gradients flow only through ``queries``.

    Args:
        queries: (B, D), rows of length 1.
        keys: (B, D), the positives.
        negatives: (Q, D).
        temperature: t.
        excluded: bool (B, Q), True for keys that are not negatives (other clips of the query's video).
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys, negatives = queries.float(), keys.detach().float(), negatives.detach().float()
        positive = (queries * keys).sum(dim=1, keepdim=True)
        negative = queries @ negatives.T
        masked = negative if excluded is None else negative.masked_fill(excluded, -torch.inf)
        logits = torch.cat([positive, masked], dim=1) / temperature
        # The positive is column 0.
        loss = F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.int64, device=queries.device))
    with torch.no_grad():
        accuracy = (positive > masked.max(dim=1, keepdim=True).values).float().mean()
        return InfoNCE(loss, positive.mean(), negative.mean(), accuracy)
