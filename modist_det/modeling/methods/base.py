"""``PretrainingMethod``: what a self-supervised method tells the rest of the framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ...core import CfgNode
from ...structures.samples import Features, Losses, PretrainingBatch
from ..backbone import Backbone
from ..registry import META_ARCH_REGISTRY

__all__ = ["PretrainingMethod", "Views", "backbone_prefixes"]


@dataclass(frozen=True)
class Views:
    """What a training sample of a method holds.

    Attributes:
        clips: augmented clips of each video.
        motion: each clip comes with its motion maps.
    """

    clips: int = 2
    motion: bool = False


class PretrainingMethod(nn.Module):
    """Learns a visual backbone from unlabelled videos.

    A method is one class, registered in ``META_ARCH_REGISTRY``. Training, checkpoints, evaluation by neighbours and
    linear probes, and the hand-over to detection and classification ask it nothing but what is declared here.

    Called with a batch in training mode it returns a dict of numbers: those named ``loss...`` are summed and
    minimized, the others are logged. A batch has ``video`` uint8 (B, clips, 3, T, H, W), with ``motion`` uint8
    (B, clips, C, T', H, W) where :meth:`views` asks for it, and ``video_number`` int64 (B,), equal for clips of one
    video. In evaluation mode ``video`` is (B, 3, T, H, W) or, several clips of each video, (B, V, 3, T, H, W), and the
    result is B dicts with ``features``, float32 (D,).

    Attributes:
        backbone_prefix: names of the visual backbone's tensors in the method's state dict begin with it.
    """

    task: ClassVar[str] = "pretraining"
    backbone_prefix: ClassVar[str]

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PretrainingMethod:
        """Built from ``cfg.MODEL``."""
        raise NotImplementedError

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        """What the training samples must hold.

        Raises:
            UserError: the config asks for what it rules out elsewhere.
        """
        return Views()

    @classmethod
    def complete_config(cls, cfg: CfgNode, motion_mean: Sequence[float]) -> None:
        """Fill in what the data decides, before the method is built.

        Args:
            motion_mean: of each channel of the motion maps, the value in [0, 1] where nothing moves.
        """

    @property
    def pretrained_backbone(self) -> Backbone:
        """What pretraining is for: the visual backbone. Evaluation and later tasks use nothing else."""
        raise NotImplementedError

    def weights_loaded(self) -> None:
        """Called after weights were put into :attr:`pretrained_backbone`; momentum copies start anew from it."""

    def set_progress(self, progress: float) -> None:
        """Called before each step with the share of training that is done, in [0, 1]."""

    def forward(self, batch: PretrainingBatch) -> Losses | list[Features]:
        raise NotImplementedError


def backbone_prefixes() -> list[str]:
    """The :attr:`~PretrainingMethod.backbone_prefix` of each registered method."""
    methods = [c for _, c in META_ARCH_REGISTRY if isinstance(c, type) and issubclass(c, PretrainingMethod)]
    return sorted({method.backbone_prefix for method in methods})
