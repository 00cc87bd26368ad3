"""``ProjectionHead``: feature maps -> a direction on the unit sphere, for contrastive learning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """

    def __init__(
        self, in_channels: Sequence[int], hidden: int = 2048, dim: int = 128, norm: str = "none"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(sum(in_channels), hidden, bias=norm == "none")]
        if norm == "BN":
            layers.append(nn.BatchNorm1d(hidden))
        elif norm != "none":
            raise ValueError(f"norm is 'none' or 'BN', not {norm!r}")
        self.layers = nn.Sequential(*layers, nn.ReLU(inplace=True), nn.Linear(hidden, dim))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_p, T_p, H, W) -> float32 (B, dim), rows of length 1."""
        return F.normalize(self.layers(pool(features)).float(), dim=1)
