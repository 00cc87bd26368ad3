"""``VideoClassifier``: clip -> class scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import COUNT, NOT_NEGATIVE, SHARE, CfgNode, Key, add_section
from ...structures.samples import ClassificationBatch, Losses, Scores
from ...utils.errors import UserError
from ..losses import mean_over_ranks
from ..mixing import ClipMixer
from ..registry import META_ARCH_REGISTRY
from .base import ClipModel

__all__ = ["VideoClassifier"]

# Classification: clips of a batch mixed with each other; with both alphas, each in half of the batches.
add_section(
    "INPUT.MIX",
    ENABLED=False,
    PROB=Key(1.0, SHARE),  # share of batches
    MIXUP_ALPHA=Key(0.8, NOT_NEGATIVE),  # 0: no mixup
    CUTMIX_ALPHA=Key(1.0, NOT_NEGATIVE),
)
add_section(
    "TEST",
    VIEW_FUSION="mean",  # of the views' scores, or "max"
    CLIPS_PER_FORWARD=Key(32, COUNT),  # so many views go through the model at once
)

VIEW_FUSIONS = ("mean", "max")


@META_ARCH_REGISTRY.register()
class VideoClassifier(ClipModel):
    """Backbone and classification head.

    The head is called with maps, as :class:`~modist_det.modeling.ClassificationHead`.

    Args:
        label_smoothing: share of each target that is distributed evenly over all classes, in training.
        mixer: mixes the clips and targets of a batch, in training.
        view_fusion: "mean" or "max" over the scores of a video's views.
        clips_per_forward: number of views that go through the backbone at once, in evaluation.
        others: as in :class:`.base.ClipModel`.
    """

    task = "classification"

    def __init__(
        self,
        *args: Any,
        label_smoothing: float = 0.0,
        mixer: ClipMixer | None = None,
        view_fusion: str = "mean",
        clips_per_forward: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if view_fusion not in VIEW_FUSIONS:
            raise UserError(f"TEST.VIEW_FUSION is {view_fusion!r}; known: {', '.join(VIEW_FUSIONS)}")
        self.label_smoothing = label_smoothing
        self.mixer = mixer
        self.view_fusion = view_fusion
        self.clips_per_forward = clips_per_forward

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        mix = cfg.INPUT.MIX
        return super().arguments(cfg) | {
            "label_smoothing": cfg.MODEL.LOSS.LABEL_SMOOTHING,
            "mixer": ClipMixer(mix.MIXUP_ALPHA, mix.CUTMIX_ALPHA, mix.PROB) if mix.ENABLED else None,
            "view_fusion": cfg.TEST.VIEW_FUSION,
            "clips_per_forward": cfg.TEST.CLIPS_PER_FORWARD,
        }

    @classmethod
    def random_batch(cls, cfg: CfgNode, batch_size: int, num_boxes: int) -> dict[str, Any]:
        labels = torch.randint(0, 2, (batch_size, cfg.MODEL.NUM_CLASSES)).float()
        return super().random_batch(cfg, batch_size, num_boxes) | {"labels": labels}

    def forward(self, batch: ClassificationBatch) -> Losses | list[Scores]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            batch: ``video`` uint8 RGB (B, C, T, H, W), or (B, V, C, T, H, W) with V clips per video; float videos must
                be normalized. In training ``labels`` of each video: B class ids from 0 (numbers or a tensor), a tensor
                (B, K), or a list of B tensors (K,) in [0, 1].

        Returns:
            ``{"loss_class": ...}``, the mean over clips; or B dicts with ``scores``, float32 (K,) in [0, 1], on the
            model's device, for all clips of a video together.

        Raises:
            UserError: shapes that do not fit together.
        """
        video = batch["video"]
        clips = video if video.dim() == 6 else video.unsqueeze(1)
        num_videos, clips_per_video = clips.shape[:2]
        if not self.training:
            parts = clips.flatten(0, 1).split(self.clips_per_forward)
            scores = torch.cat([self._scores(part) for part in parts])
            scores = scores.unflatten(0, (num_videos, clips_per_video))
            fused = scores.amax(dim=1) if self.view_fusion == "max" else scores.mean(dim=1)
            return [{"scores": row} for row in fused]

        # Ordered by clip, then by video, so that the mixer mixes different videos.
        clips = self.normalizer(clips.transpose(0, 1).flatten(0, 1))
        targets = _to_tensor(batch["labels"]).to(clips.device, non_blocking=True)
        num_classes = self.head.num_classes
        if targets.shape not in ((num_videos,), (num_videos, num_classes)):
            raise UserError(
                f"a batch's labels are {tuple(targets.shape)}, but there are {num_videos} clips, scored for "
                f"{num_classes} classes (MODEL.NUM_CLASSES)"
            )
        targets = torch.cat([self._soften(targets)] * clips_per_video)
        if self.mixer is not None:
            clips, targets = self.mixer(clips, targets)
        losses = self.loss(self.head(self.backbone(clips))[:, 0], targets)
        return {"loss_class": self.loss_weight * mean_over_ranks(losses)}

    def _scores(self, clips: Tensor) -> Tensor:
        return self.head.scores(self.head(self.backbone(self.normalizer(clips))))

    def _soften(self, targets: Tensor) -> Tensor:
        """Class ids (N,) or targets (N, K) -> smoothed (N, K). Without smoothing and mixing, ids stay ids."""
        if not self.label_smoothing and self.mixer is None:
            return targets
        if targets.dim() == 1:
            targets = F.one_hot(targets.long(), self.head.num_classes)
        share = self.label_smoothing
        return targets.float() * (1 - share) + share / self.head.num_classes


def _to_tensor(labels: Tensor | Sequence[Tensor] | Sequence[int]) -> Tensor:
    if isinstance(labels, Tensor):
        return labels
    return torch.stack([torch.as_tensor(label) for label in labels])
