"""``ProjectionHead``: feature maps -> a direction on the unit sphere, for contrastive learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.errors import UserError

__all__ = ["ProjectionHead", "pool"]


def pool(features: Sequence[Tensor]) -> Tensor:
    """Average of each pathway's map (B, C_p, T_p, H, W) over time and space, concatenated: (B, sum C_p)."""
    return torch.cat([maps.mean(dim=(2, 3, 4)) for maps in features], dim=1)


class ProjectionHead(nn.Module):
    """Average pool, linear, ReLU, linear, L2 normalization (arXiv 2106.09703: 2048 then 128, no BN).

    Args:
        in_channels: of each pathway.
        hidden: width of the hidden layer.
        dim: length of the result.
        norm: "none", or "BN" after the hidden layer.

    Raises:
        UserError: another norm; BN in training on a single clip.
    """

    def __init__(
        self, in_channels: Sequence[int], hidden: int = 2048, dim: int = 128, norm: str = "none"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(sum(in_channels), hidden, bias=norm == "none")]
        if norm == "BN":
            layers.append(nn.BatchNorm1d(hidden))
        elif norm != "none":
            raise UserError(f"MODEL.MODIST.PROJECTION_NORM is {norm!r}; known: 'none', 'BN'")
        self.layers = nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(hidden, dim))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_p, T_p, H, W) -> float32 (B, dim), rows of length 1."""
        pooled = pool(features)
        if self.training and len(pooled) == 1 and isinstance(self.layers[1], nn.BatchNorm1d):
            raise UserError(
                "MODEL.MODIST.PROJECTION_NORM BN needs two clips or more a process and accumulation step; raise "
                "SOLVER.IMS_PER_BATCH or set it to 'none'"
            )
        return F.normalize(self.layers(pooled).float(), dim=1)
