"""``UMTStudent``: the network that UMT trains to imitate an image model (Li et al., ICCV 2023)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbone import VideoViT
from ..backbone.transformer import initialize

__all__ = ["UMTStudent"]


class UMTStudent(nn.Module):
    """A backbone whose last blocks are each projected to the tokens of a teacher.

    Args:
        backbone: with sinusoidal positions, tubelets of one frame in UMT.
        out_dim: width of the teacher's tokens.
        layers: number of blocks that imitate the teacher.
        interval: distance between them; the last block is one of them.
    """

    def __init__(self, backbone: VideoViT, out_dim: int = 768, layers: int = 6, interval: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.interval = interval
        self.clip_decoder = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    head=nn.Linear(backbone.dim, out_dim), norm=nn.LayerNorm(out_dim, eps=backbone.eps)
                )
            )
            for _ in range(layers)
        )
        initialize(self.clip_decoder)

    def forward(self, clip: Tensor, keep: Tensor) -> Tensor:
        """Predictions of unit length for the tokens that are seen, the earliest block first.

        Args:
            clip: normalized (B, C, T, H, W).
            keep: int64 (B, N): indices of the patches that the student sees.

        Returns:
            (layers, B, N, ``out_dim``).
        """
        layers = len(self.clip_decoder)
        blocks = [-1 - i * self.interval for i in reversed(range(layers))]
        table = self.backbone.position_table(self.backbone.grid_of(clip))[0].to(clip.dtype)
        outputs = zip(self.clip_decoder, self.backbone.tokens(clip, keep, blocks), strict=True)
        predicted = [decoder(x + table[keep]) for decoder, x in outputs]
        return F.normalize(torch.stack(predicted), dim=-1)
