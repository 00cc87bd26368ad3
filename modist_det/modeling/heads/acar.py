"""``ACARHead``: action scores from relations between actors by way of their context (Pan et al., CVPR 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, CfgNode, Key, add_section
from ...structures.samples import DetectionBatch
from ...utils.errors import UserError
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY
from .roi import RoIHead

__all__ = ["ACARHead"]

add_section(
    "MODEL.ACAR",
    REDUCE_DIM=Key(1024, COUNT),  # channels to which the map is reduced
    HIDDEN_DIM=Key(512, COUNT),
    DEPTH=Key(2, NOT_NEGATIVE),  # relation layers; the published R101 has 1
)


class _Relation(nn.Module):
    """Attention between the actors of a clip, at each place of the map by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_q, self.conv_k, self.conv_v, self.conv = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(4)
        )
        self.norm = nn.GroupNorm(1, channels)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(actors, C, H, W), of one clip."""
        q, k, v = self.conv_q(x), self.conv_k(x), self.conv_v(x)
        weights = torch.einsum("achw,bchw->abhw", q, k) / math.sqrt(x.shape[1])
        related = torch.einsum("abhw,bchw->achw", weights.softmax(dim=1), v)
        return x + self.dropout(self.conv(F.relu(self.norm(related))))


@HEAD_REGISTRY.register()
class ACARHead(RoIHead):
    """Each actor's feature beside every place of the map; layers relate the actors of a clip at each place.

    The layers have the names of ACAR-Net, but ``fc2`` is ``projection``. Its files have ``aligned=False`` and
    ``sampling_ratio=0``.

    Args:
        in_channels: of each pathway; the averages over time must have one size.
        num_classes: K.
        reduce_dim: channels to which the map is reduced first.
        hidden_dim: channels of the relations.
        depth: number of relation layers.
        others: as in :class:`~.roi.RoIHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        spatial_stride: int,
        reduce_dim: int = 1024,
        hidden_dim: int = 512,
        depth: int = 2,
        aligned: bool = False,
        dropout: float = 0.0,
        **roi: Any,
    ) -> None:
        super().__init__(2 * hidden_dim, num_classes, spatial_stride, aligned=aligned, dropout=dropout, **roi)
        self.conv_reduce = nn.Conv2d(sum(in_channels), reduce_dim, 1, bias=False)
        self.conv1 = nn.Conv2d(2 * reduce_dim, hidden_dim, 1, bias=False)
        self.conv2 = nn.Conv2d(hidden_dim, hidden_dim, 3, bias=False)
        self.hr2o = nn.Sequential(*(_Relation(hidden_dim) for _ in range(depth)))
        self.fc1 = nn.Linear(reduce_dim, hidden_dim, bias=False)
        self.projection.register_parameter("bias", None)

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> ACARHead:
        return cls(**cls.arguments(cfg, backbone))

    @classmethod
    def arguments(cls, cfg: CfgNode, backbone: Backbone) -> dict[str, Any]:
        node = cfg.MODEL.ACAR
        return super().arguments(cfg, backbone) | {
            "reduce_dim": node.REDUCE_DIM,
            "hidden_dim": node.HIDDEN_DIM,
            "depth": node.DEPTH,
        }

    def context(self, batch: DetectionBatch) -> tuple[Sequence[tuple[int, int]] | None]:
        """The sizes of the clips without padding, if they are padded."""
        return (batch.get("clip_size"),)

    def forward(
        self, features: Sequence[Tensor], rois: Tensor, sizes: Sequence[tuple[int, int]] | None = None
    ) -> Tensor:
        """Logits for each box.

        Args:
            features: maps (B, C_p, T_p, H, W), one per pathway.
            rois: float32 (N, 5): index of the clip in the batch, in ascending order, then x1, y1, x2, y2 in pixels.
            sizes: (height, width) in pixels of each clip without padding; places in the padding are no context.

        Returns:
            (N, K).

        Raises:
            UserError: a map of less than 3x3 cells, of which a convolution without padding leaves nothing.
        """
        image = self.conv_reduce(torch.cat([feature.mean(dim=2) for feature in features], dim=1))
        actors = self.align(image, rois).to(image.dtype)
        counts = rois[:, 0].long().bincount(minlength=len(image)).tolist()
        related = [
            self._related(of_clip, image[i], sizes[i] if sizes else None)
            for i, of_clip in enumerate(actors.split(counts))
        ]
        return self.classify(torch.cat([F.relu(self.fc1(actors)), torch.cat(related)], dim=1))

    def _related(self, actors: Tensor, image: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Actors (n, C) of a clip with the map (C, H, W) -> (n, hidden)."""
        if size is not None:
            height, width = (math.ceil(pixels / self.spatial_stride) for pixels in size)
            image = image[:, :height, :width]
        if min(image.shape[1:]) < 3:
            raise UserError(
                f"ACARHead needs maps of at least 3x3 cells of {self.spatial_stride} pixels, not "
                f"{tuple(image.shape[1:])}"
            )
        places = torch.cat(
            [
                image.expand(len(actors), -1, -1, -1),
                actors[:, :, None, None].expand(-1, -1, *image.shape[1:]),
            ],
            dim=1,
        )
        x = F.relu(self.conv2(F.relu(self.conv1(places))))
        return self.hr2o(F.max_pool2d(x, 3, 2, 1)).mean(dim=(2, 3))
