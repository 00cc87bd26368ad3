"""``ClipModel``: base of the meta architectures with one backbone and one head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...core import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone, build_backbone
from ..clip_normalizer import ClipNormalizer
from ..heads import build_head
from ..losses import Loss, build_loss
from ..registry import ForTask, Head

__all__ = ["ClipModel"]


class ClipModel(nn.Module):
    """Normalizer, ``backbone``, ``head`` and loss, which a subclass connects in ``forward``.

    Args:
        backbone: clip -> feature maps.
        head: feature maps -> logits.
        loss: (logits (N, K), targets) -> (N,).
        pixel_mean, pixel_std, input_format, channels_last, frame_differences: as in :class:`ClipNormalizer`.
        loss_weight: factor for the loss.

    Attributes:
        task: the task of the model; heads for other tasks are rejected.
    """

    task: str

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        loss: Loss,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str = "RGB",
        channels_last: bool = False,
        loss_weight: float = 1.0,
        frame_differences: bool = False,
    ) -> None:
        super().__init__()
        self.normalizer = ClipNormalizer(
            pixel_mean, pixel_std, input_format, channels_last, frame_differences
        )
        self.backbone = backbone
        self.head = head
        self.loss = loss
        self.loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> ClipModel:
        """Built from ``cfg.MODEL``.

        Raises:
            UserError: the head is for another task.
        """
        return cls(**cls.arguments(cfg))

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        """The constructor's arguments from a config. Subclasses add their own."""
        backbone = build_backbone(cfg)
        head = build_head(cfg, backbone)
        if isinstance(head, ForTask) and head.task != cls.task:
            raise UserError(
                f"MODEL.HEAD.NAME {cfg.MODEL.HEAD.NAME} is for {head.task}, but MODEL.META_ARCHITECTURE "
                f"{cfg.MODEL.META_ARCHITECTURE} is for {cls.task}"
            )
        return {
            "backbone": backbone,
            "head": head,
            "loss": build_loss(cfg),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.MODEL.INPUT_FORMAT,
            "channels_last": cfg.MODEL.CHANNELS_LAST,
            "loss_weight": cfg.MODEL.LOSS.WEIGHT,
            "frame_differences": cfg.MODEL.FRAME_DIFFERENCES,
        }

    @classmethod
    def random_batch(cls, cfg: CfgNode, batch_size: int, num_boxes: int) -> dict[str, Any]:
        """``video`` of noise; see :class:`~modist_det.modeling.registry.MakesBatches`. Subclasses add the rest."""
        shape = (batch_size, len(cfg.MODEL.PIXEL_MEAN), cfg.INPUT.NUM_FRAMES, *[cfg.INPUT.CROP_SIZE] * 2)
        return {"video": torch.randint(0, 256, shape, dtype=torch.uint8)}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """``torch.compile`` the backbone in place: it does nearly all the work and has fixed shapes.

        The head would be recompiled for each new number of boxes.
        """
        self.backbone.compile(*args, **kwargs)
