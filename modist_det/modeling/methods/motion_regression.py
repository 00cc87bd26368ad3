"""``MotionRegression``: RGB features that say where and when something moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core import COUNT, CfgNode, Key, ListOf, add_section
from ...structures.samples import Features, Losses, PretrainingBatch
from ...utils.comm import all_reduce_mean
from ..backbone import Backbone, build_backbone
from ..clip_normalizer import ClipNormalizer
from ..heads.projection import ProjectionHead
from ..registry import META_ARCH_REGISTRY
from .base import PretrainingMethod, Views, mean_features

__all__ = ["MotionRegression", "motion_pyramid", "standardized"]

add_section(
    "MODEL.MOTION_REGRESSION",
    GRID=Key([4, 8, 8], ListOf(int, 3, COUNT)),  # cells of a clip in time, height and width
    CLIPS=Key(1, COUNT),  # of a video, from one decoding
    PROJECTION_HIDDEN=Key(256, COUNT),
    PROJECTION_NORM="BN",  # or "none"
    # Of the motion maps after division by 255, one entry a channel, where nothing moves. The task sets it.
    MOTION_MEAN=Key([0.0], ListOf(float)),
)

_SMALLEST_VARIANCE = 1e-5  # of a cell, so that places where nothing ever moves are not noise to predict


def motion_pyramid(maps: Tensor, grid: tuple[int, int, int], still: Tensor) -> Tensor:
    """The amount of motion in each cell of a grid: the square root of its mean distance from ``still``.

    Args:
        maps: uint8 (B, C, T, H, W).
        grid: number of cells in time, height and width.
        still: (C,), the value in [0, 1] where nothing moves.

    Returns:
        float32 (B, C * cells) in [0, 1].
    """
    distance = (maps.float() / 255 - still.view(-1, 1, 1, 1)).abs()
    # The root, because a few places with much motion would otherwise outweigh all others.
    return F.adaptive_avg_pool3d(distance, grid).sqrt().flatten(1)


def standardized(values: Tensor, dims: tuple[int, ...] = (0,)) -> Tensor:
    """Deviations of :func:`motion_pyramid` from its mean over ``dims`` and over all processes, in units of the standard
    deviation there."""
    exact = values.double()  # the difference of two close numbers follows
    moments = [exact.mean(dim=dims, keepdim=True), exact.square().mean(dim=dims, keepdim=True)]
    mean, square = all_reduce_mean(torch.stack(moments))
    variance = (square - mean.square()).float().clamp(min=_SMALLEST_VARIANCE)
    return (values - mean.float()) / variance.sqrt()


@META_ARCH_REGISTRY.register()
class MotionRegression(PretrainingMethod):
    """Predicts a clip's motion maps, pooled to a grid, from the pooled features of its RGB frames.

    The teacher is the motion itself: nothing else is learned, and there are neither negatives, queues nor momentum
    copies. As all of the grid comes from one vector, the features must say where and when something moves.

    Args:
        backbone: visual backbone.
        normalizer: of its clips.
        grid: cells in time, height and width.
        hidden, norm: of the head; see :class:`~modist_det.modeling.heads.projection.ProjectionHead`.
        motion_mean: (C,), value of the motion maps in [0, 1] where nothing moves.
        clips_per_forward: number of clips that go through the backbone at once, in evaluation.
    """

    still: Tensor

    def __init__(
        self,
        backbone: Backbone,
        normalizer: ClipNormalizer,
        grid: Sequence[int] = (4, 8, 8),
        hidden: int = 256,
        norm: str = "BN",
        motion_mean: Sequence[float] = (0.0,),
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        time, height, width = grid
        self.grid = (time, height, width)
        cells = len(motion_mean) * time * height * width
        self.head = ProjectionHead(backbone.out_channels, hidden, cells, norm, normalize=False)
        self.register_buffer("still", torch.tensor(list(motion_mean)), persistent=False)
        self.clips_per_forward = clips_per_forward

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MotionRegression:
        node, model = cfg.MODEL.MOTION_REGRESSION, cfg.MODEL
        return cls(
            build_backbone(cfg),
            ClipNormalizer(model.PIXEL_MEAN, model.PIXEL_STD, model.INPUT_FORMAT, model.CHANNELS_LAST),
            grid=node.GRID,
            hidden=node.PROJECTION_HIDDEN,
            norm=node.PROJECTION_NORM,
            motion_mean=node.MOTION_MEAN,
            clips_per_forward=cfg.TEST.CLIPS_PER_FORWARD,
        )

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        return Views(clips=cfg.MODEL.MOTION_REGRESSION.CLIPS, motion=True)

    @classmethod
    def complete_config(cls, cfg: CfgNode, motion_mean: Sequence[float]) -> None:
        cfg.MODEL.MOTION_REGRESSION.MOTION_MEAN = list(motion_mean)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """``torch.compile`` the backbone in place."""
        self.backbone.compile(*args, **kwargs)

    def forward(self, batch: PretrainingBatch) -> Losses | list[Features]:
        """In training ``loss_motion``, the squared error in predicting each cell's deviation from its mean over the
        batches of all processes, in units of its standard deviation there; and for the log ``explained``, the share
        of the variance that is predicted (0: as good as the mean).
        """
        if not self.training:
            features = mean_features(self.backbone, self.normalizer, batch["video"], self.clips_per_forward)
            return [{"features": row} for row in features]
        device = self.still.device
        predicted = self.head(
            self.backbone(self.normalizer(batch["video"].to(device, non_blocking=True).flatten(0, 1)))
        )
        maps = batch["motion"].to(device, non_blocking=True)
        with torch.autocast(device.type, enabled=False):
            wanted = standardized(motion_pyramid(maps.flatten(0, 1), self.grid, self.still))
            loss = (predicted - wanted).square().mean()
        return {"loss_motion": loss, "explained": 1 - loss.detach()}
