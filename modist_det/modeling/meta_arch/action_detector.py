"""``ActionDetector``: clip and person boxes -> action scores for each person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...core import CfgNode
from ...structures.samples import DetectionBatch, Losses, Scores
from ...utils.errors import UserError
from ..heads.roi_action import extend_rois
from ..losses import mean_over_ranks
from ..registry import META_ARCH_REGISTRY, UsesContext
from .base import ClipModel

__all__ = ["ActionDetector", "to_rois"]


@META_ARCH_REGISTRY.register()
class ActionDetector(ClipModel):
    """Backbone and RoI head for given person boxes (Feichtenhofer et al. 2019, section 5).

    The head is called with maps and rois (N, 5), as :class:`~modist_det.modeling.RoIActionHead`.
    """

    task = "detection"

    @classmethod
    def random_batch(cls, cfg: CfgNode, batch_size: int, num_boxes: int) -> dict[str, Any]:
        """The sides of boxes are between a quarter of the crop's and all of it."""
        corner = 0.375 * torch.rand(batch_size, num_boxes, 2, 2)
        boxes = cfg.INPUT.CROP_SIZE * torch.cat([corner[:, :, 0], 1 - corner[:, :, 1]], dim=2)
        labels = torch.randint(0, 2, (batch_size, num_boxes, cfg.MODEL.NUM_CLASSES)).float()
        return super().random_batch(cfg, batch_size, num_boxes) | {
            "boxes": list(boxes),
            "labels": list(labels),
        }

    def forward(self, batch: DetectionBatch) -> Losses | list[Scores]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            batch: ``video`` uint8 RGB (B, C, T, H, W), or float and normalized; ``boxes``: B tensors (N_i, 4), x1y1x2y2
                in pixels of the clip, N_i >= 0; in training ``labels``: B tensors (N_i, K) in [0, 1]. On any device.
                If clips are padded on the right and at the bottom, ``clip_size``: B pairs (height, width) without it.
                In evaluation, optionally ``person_scores``: B tensors (N_i,), factors for the scores.

        Returns:
            ``{"loss_action": ...}``, the mean over the boxes of all processes (see
            :func:`~modist_det.modeling.losses.mean_over_ranks`); or B dicts with ``scores``, float32 (N_i, K) in [0, 1]
            on the model's device.

        Raises:
            UserError: shapes that do not fit together.
        """
        clip = self.normalizer(batch["video"])
        counts = [len(boxes) for boxes in batch["boxes"]]
        if len(counts) != len(clip):
            raise UserError(
                f"a batch has one tensor of boxes per clip, not {len(counts)} for {len(clip)} clips"
            )
        rois = to_rois(batch["boxes"]).to(clip.device, non_blocking=True)
        context = self.head.context(batch) if isinstance(self.head, UsesContext) else ()
        logits = self.logits(clip, rois, batch.get("clip_size"), context)
        if not self.training:
            scores = self.head.scores(logits)
            if "person_scores" in batch:
                persons = torch.cat(list(batch["person_scores"])).to(scores.device, non_blocking=True)
                scores = scores * persons[:, None]
            return [{"scores": rows} for rows in scores.split(counts)]

        labels = torch.cat(list(batch["labels"]))
        if labels.shape != logits.shape:
            raise UserError(
                f"a batch's labels are {tuple(labels.shape)}, but there are {len(logits)} boxes, scored for "
                f"{logits.shape[1]} classes (MODEL.NUM_CLASSES)"
            )
        losses = self.loss(logits, labels.to(logits.device, non_blocking=True))
        return {"loss_action": self.loss_weight * mean_over_ranks(losses)}

    def logits(
        self,
        clip: Tensor,
        rois: Tensor,
        sizes: Sequence[tuple[int, int]] | None = None,
        context: Sequence[Any] = (),
    ) -> Tensor:
        """Normalized clips (B, C, T, H, W) and rois (N, 5) -> logits (N, K).

        Args:
            sizes: (height, width) of each clip without padding, for heads that extend boxes; by default H and W.
            context: what a head with ``context`` gets beside maps and rois.
        """
        extension = getattr(self.head, "box_extension", ())
        if any(extension) and not self.training:
            sizes = sizes or [(clip.shape[3], clip.shape[4])]
            rois = extend_rois(rois, extension, torch.tensor([[width, height] for height, width in sizes]))
        return self.head(self.backbone(clip), rois, *context)


def to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """B tensors (N_i, 4) -> float32 (N, 5), starting with the index of the clip."""
    indices = [tensor.new_full((len(tensor), 1), i, dtype=torch.float32) for i, tensor in enumerate(boxes)]
    coordinates = [tensor.reshape(-1, 4).float() for tensor in boxes]
    return torch.cat([torch.cat(indices), torch.cat(coordinates)], dim=1)
