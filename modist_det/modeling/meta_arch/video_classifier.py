"""``VideoClassifier``: clip -> class scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...utils.errors import UserError
from ..losses import mean_over_ranks
from ..registry import META_ARCH_REGISTRY
from .base import ClipModel

__all__ = ["VideoClassifier"]


@META_ARCH_REGISTRY.register()
class VideoClassifier(ClipModel):
    """Backbone and classification head.

    The head is called with the maps, as :class:`~modist_det.modeling.ClassificationHead`.
    """

    task = "classification"

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            batch: ``video`` uint8 RGB (B, C, T, H, W), or float and normalized already; in training
                ``labels``: B class ids from 0 (numbers or one tensor), or a tensor (B, K) or a list
                of B tensors (K,) in [0, 1].

        Returns:
            ``{"loss_class": ...}``, or B dicts with ``scores``, float32 (K,) in [0, 1] on the model's
            device.

        Raises:
            UserError: shapes that do not fit together.
        """
        clip = self.normalizer(batch["video"])
        logits = self.head(self.backbone(clip))
        if not self.training:
            return [{"scores": scores} for scores in self.head.scores(logits)]

        labels = _to_tensor(batch["labels"])
        logits = logits[:, 0]
        if labels.shape not in (logits.shape, logits.shape[:1]):
            raise UserError(
                f"a batch's labels are {tuple(labels.shape)}, but there are {len(logits)} clips, scored for "
                f"{logits.shape[1]} classes (MODEL.NUM_CLASSES)"
            )
        losses = self.loss(logits, labels.to(logits.device, non_blocking=True))
        return {"loss_class": self.loss_weight * mean_over_ranks(losses)}


def _to_tensor(labels: Tensor | Sequence[Tensor] | Sequence[int]) -> Tensor:
    if isinstance(labels, Tensor):
        return labels
    return torch.stack([torch.as_tensor(label) for label in labels])
