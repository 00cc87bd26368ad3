"""``ProjectionHead`` for contrastive learning: feature maps -> a unit vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.errors import UserError

__all__ = ["ProjectionHead", "mlp", "pool"]


def pool(features: Sequence[Tensor]) -> Tensor:
    """Average of each pathway's map (B, C_p, T_p, H, W) over time and space, concatenated to (B, sum C_p)."""
    return torch.cat([maps.mean(dim=(2, 3, 4)) for maps in features], dim=1)


def mlp(
    in_features: int, hidden: int, out_features: int, norm: str = "none", num_layers: int = 2
) -> nn.Sequential:
    """``num_layers`` linear layers with ReLU between them.

    Args:
        norm: "none", or "BN" after each layer but the last, in place of their biases.

    Raises:
        UserError: an unknown norm.
    """
    if norm not in ("none", "BN"):
        raise UserError(f"PROJECTION_NORM is {norm!r}; known: 'none', 'BN'")
    layers: list[nn.Module] = []
    width = in_features
    for _ in range(num_layers - 1):
        layers.append(nn.Linear(width, hidden, bias=norm == "none"))
        if norm == "BN":
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU(inplace=True))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, out_features))


class ProjectionHead(nn.Module):
    """Average pooling, MLP and L2 normalization (in arXiv 2106.09703: 2048 hidden, 128 out, no BN).

    Args:
        in_channels: of each pathway.
        hidden: width of the hidden layers.
        dim: length of the result.
        norm: "none", or "BN" after each hidden layer.
        num_layers: number of linear layers.
        normalize: scale the rows of the result to length 1.

    Raises:
        UserError: an unknown norm, or BN in training with a single clip.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden: int = 2048,
        dim: int = 128,
        norm: str = "none",
        num_layers: int = 2,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.layers = mlp(sum(in_channels), hidden, dim, norm, num_layers)
        self.needs_batch = norm == "BN" and num_layers > 1
        self.normalize = normalize

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_p, T_p, H, W) -> float32 (B, dim)."""
        pooled = pool(features)
        if self.training and self.needs_batch and len(pooled) == 1:
            raise UserError(
                "PROJECTION_NORM BN needs at least two clips per process and accumulation step; increase "
                "SOLVER.IMS_PER_BATCH or set it to 'none'"
            )
        projected = self.layers(pooled).float()
        return F.normalize(projected, dim=1) if self.normalize else projected
