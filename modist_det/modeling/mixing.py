"""Mixup and CutMix for the clips and labels of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..utils.errors import UserError

__all__ = ["ClipMixer"]


class ClipMixer:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of each clip with the previous one, by torchvision.

    All clips and frames of a batch share ``lam`` and, for CutMix, the rectangle. Random numbers come from torch's
    global generator.

    Args:
        mixup_alpha, cutmix_alpha: ``lam`` is drawn from Beta(alpha, alpha); 0 disables a method. If both are enabled,
            each is used for half of the batches.
        prob: share of batches that are mixed.

    Raises:
        UserError: both alphas are 0.
    """

    def __init__(self, mixup_alpha: float = 0.0, cutmix_alpha: float = 0.0, prob: float = 1.0) -> None:
        from torchvision.transforms.v2 import CutMix, MixUp

        kinds = ((MixUp, mixup_alpha), (CutMix, cutmix_alpha))
        self.choices = [kind(alpha=alpha) for kind, alpha in kinds if alpha > 0]
        self.prob = prob
        if not self.choices:
            raise UserError(
                "INPUT.MIX.MIXUP_ALPHA and CUTMIX_ALPHA are both 0; set one or INPUT.MIX.ENABLED False"
            )

    def __call__(self, clips: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Float clips (B, C, T, H, W) and targets (B, K) -> the same, mixed."""
        from torchvision.tv_tensors import Video

        if torch.rand(()) >= self.prob:
            return clips, targets
        mix = self.choices[int(torch.randint(len(self.choices), ()))]
        mixed, targets = mix(Video(clips), targets)
        return mixed.as_subclass(Tensor), targets
