"""``VideoClassifier``: clip -> class scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...config import CfgNode
from ...utils.errors import UserError
from ..losses import mean_over_ranks
from ..registry import META_ARCH_REGISTRY
from .base import ClipModel

__all__ = ["VideoClassifier"]

VIEW_FUSIONS = ("mean", "max")


@META_ARCH_REGISTRY.register()
class VideoClassifier(ClipModel):
    """Backbone and classification head.

    The head is called with the maps, as :class:`~modist_det.modeling.ClassificationHead`.

    Attributes:
        view_fusion: how the scores of a video's views become one: "mean" or "max".
        clips_per_forward: so many views go through the backbone at once.
    """

    task = "classification"
    view_fusion = "mean"
    clips_per_forward = 32

    @classmethod
    def from_config(cls, cfg: CfgNode) -> VideoClassifier:
        """Built from ``cfg.MODEL`` and, for testing, ``cfg.TEST``."""
        if cfg.TEST.VIEW_FUSION not in VIEW_FUSIONS:
            raise UserError(f"TEST.VIEW_FUSION is {cfg.TEST.VIEW_FUSION!r}; known: {', '.join(VIEW_FUSIONS)}")
        model = super().from_config(cfg)
        assert isinstance(model, cls)
        model.view_fusion = cfg.TEST.VIEW_FUSION
        model.clips_per_forward = cfg.TEST.CLIPS_PER_FORWARD
        return model

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            batch: ``video`` uint8 RGB (B, C, T, H, W), or float and normalized already; in evaluation also
                (B, V, C, T, H, W), V views of each video; in training
                ``labels``: B class ids from 0 (numbers or one tensor), or a tensor (B, K) or a list
                of B tensors (K,) in [0, 1].

        Returns:
            ``{"loss_class": ...}``, or B dicts with ``scores``, float32 (K,) in [0, 1] on the model's
            device.

        Raises:
            UserError: shapes that do not fit together.
        """
        if not self.training:
            return [{"scores": scores} for scores in self._scores(batch["video"])]

        logits = self.head(self.backbone(self.normalizer(batch["video"])))
        labels = _to_tensor(batch["labels"])
        logits = logits[:, 0]
        if labels.shape not in (logits.shape, logits.shape[:1]):
            raise UserError(
                f"a batch's labels are {tuple(labels.shape)}, but there are {len(logits)} clips, scored for "
                f"{logits.shape[1]} classes (MODEL.NUM_CLASSES)"
            )
        losses = self.loss(logits, labels.to(logits.device, non_blocking=True))
        return {"loss_class": self.loss_weight * mean_over_ranks(losses)}

    def _scores(self, video: Tensor) -> Tensor:
        """(B, K); the views of a video are fused."""
        views = video if video.dim() == 6 else video.unsqueeze(1)
        clips = views.flatten(0, 1).split(self.clips_per_forward)
        scores = torch.cat([self.head.scores(self.head(self.backbone(self.normalizer(c)))) for c in clips])
        scores = scores.unflatten(0, views.shape[:2])
        return scores.amax(dim=1) if self.view_fusion == "max" else scores.mean(dim=1)


def _to_tensor(labels: Tensor | Sequence[Tensor] | Sequence[int]) -> Tensor:
    if isinstance(labels, Tensor):
        return labels
    return torch.stack([torch.as_tensor(label) for label in labels])
