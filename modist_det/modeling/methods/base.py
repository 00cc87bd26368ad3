"""``PretrainingMethod``: the interface of self-supervised methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ...core import CfgNode
from ...structures.samples import Features, Losses, PretrainingBatch
from ..backbone import Backbone
from ..heads.projection import pool
from ..registry import META_ARCH_REGISTRY

__all__ = ["PretrainingMethod", "Views", "backbone_prefixes", "mean_features"]

_USUAL_PREFIX = "backbone."


@dataclass(frozen=True)
class Views:
    """The content of a training sample.

    Attributes:
        clips: number of augmented clips per video.
        motion: each clip has motion maps.
    """

    clips: int = 2
    motion: bool = False


class PretrainingMethod(nn.Module):
    """A method that trains a visual backbone on unlabelled videos.

    A method is one class, registered in ``META_ARCH_REGISTRY``. Training, checkpoints, evaluation (neighbours and
    linear probes) and later tasks use only what is declared here.

    In training mode, a call with a batch returns a dict of numbers: those named ``loss...`` are summed and minimized,
    the others are logged. A batch has ``video`` uint8 (B, clips, 3, T, H, W), ``motion`` uint8 (B, clips, C, T', H, W)
    if requested by :meth:`views`, and ``video_number`` int64 (B,), which is equal for clips of the same video. In
    evaluation mode, ``video`` is (B, 3, T, H, W) or, with several clips per video, (B, V, 3, T, H, W), and the result
    is B dicts with ``features``, float32 (D,).

    Attributes:
        backbone_prefix: prefix of the visual backbone's tensors in the method's state dict; by default that of an
            attribute ``backbone``, as in detectors and classifiers.
    """

    task: ClassVar[str] = "pretraining"
    backbone_prefix: ClassVar[str] = _USUAL_PREFIX

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PretrainingMethod:
        """Built from ``cfg.MODEL``."""
        raise NotImplementedError

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        """What the training samples must contain.

        Raises:
            UserError: the config contradicts itself.
        """
        return Views()

    @classmethod
    def check_data(cls, cfg: CfgNode, videos: int, samples: int) -> None:
        """Called before training with the number of different videos and of samples an epoch, which may be parts of
        videos. Warns of settings that do not suit them.

        Raises:
            UserError: nothing can be learned from so few.
        """

    @classmethod
    def complete_config(cls, cfg: CfgNode, motion_mean: Sequence[float]) -> None:
        """Set config keys that depend on the data, before the method is built.

        Args:
            motion_mean: the value in [0, 1] of each channel of the motion maps where nothing moves.
        """

    @classmethod
    def random_batch(cls, cfg: CfgNode, batch_size: int, num_boxes: int) -> dict[str, Any]:
        """The clips and motion maps (of one channel) of :meth:`views`, of noise, one video each; see
        :class:`~modist_det.modeling.registry.MakesBatches`.
        """
        views = cls.views(cfg)
        channels = {"video": (len(cfg.MODEL.PIXEL_MEAN), cfg.INPUT.NUM_FRAMES)}
        if views.motion:
            channels["motion"] = (1, cfg.MOTION.NUM_FRAMES)
        size = [cfg.INPUT.CROP_SIZE] * 2
        return {
            name: torch.randint(0, 256, (batch_size, views.clips, *shape, *size), dtype=torch.uint8)
            for name, shape in channels.items()
        } | {"video_number": torch.arange(batch_size)}

    @property
    def pretrained_backbone(self) -> Backbone:
        """The visual backbone, the only part that evaluation and later tasks use."""
        return cast(Backbone, self.get_submodule(self.backbone_prefix.rstrip(".")))

    def further_weights(self, cfg: CfgNode) -> dict[str, str]:
        """What starts from files of its own, besides :attr:`pretrained_backbone` (``MODEL.WEIGHTS``): prefix of a
        backbone's tensors in the method's state dict -> file. If the file has tensors with that prefix, these are used.
        """
        return {}

    def weights_loaded(self) -> None:
        """Called after weights were loaded, for example to reset momentum copies."""

    def set_progress(self, progress: float) -> None:
        """Called before each step with the training progress in [0, 1]."""

    def forward(self, batch: PretrainingBatch) -> Losses | list[Features]:
        raise NotImplementedError


def mean_features(
    backbone: Backbone, normalizer: Callable[[Tensor], Tensor], video: Tensor, clips_per_forward: int
) -> Tensor:
    """The pooled map of a backbone, float32 (B, D), averaged over a video's clips.

    Args:
        video: uint8 (B, C, T, H, W) or (B, V, C, T, H, W).
        clips_per_forward: number of clips that go through the backbone at once.
    """
    clips = video if video.dim() == 5 else video.flatten(0, 1)
    parts = clips.split(clips_per_forward)
    features = torch.cat([pool(backbone(normalizer(part))).float() for part in parts])
    return features.view(len(video), -1, features.shape[1]).mean(dim=1)


def backbone_prefixes() -> list[str]:
    """The :attr:`~PretrainingMethod.backbone_prefix` of all registered methods, without the default."""
    methods = [c for _, c in META_ARCH_REGISTRY if isinstance(c, type) and issubclass(c, PretrainingMethod)]
    return sorted({method.backbone_prefix for method in methods} - {_USUAL_PREFIX})
