"""Position codes of video transformers: tables for a grid of tokens (steps, rows, columns), and rotary positions.

A table is (1, N, D) with the tokens in the order time, row, column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .multiscale import interpolate_positions

__all__ = ["Grid", "resize_volume", "rotary", "sincos_table", "sinusoid_table", "umt_table"]

Grid = tuple[int, int, int]  # steps, rows, columns


def sinusoid_table(count: int, dim: int) -> Tensor:
    """VideoMAE's: sine and cosine of one running index over all ``count`` tokens; float32 (1, count, dim).

    A table for fewer steps of the same size is a prefix of it.
    """
    column = torch.arange(dim, dtype=torch.float64)
    angle = torch.arange(count, dtype=torch.float64)[:, None] / 10000 ** (2 * (column // 2) / dim)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()[None]


def umt_table(grid: Grid, dim: int, patch: int = 16) -> Tensor:
    """UMT's initial table: the sinusoids of 8 steps of 224 pixels, interpolated."""
    native = (8, 224 // patch, 224 // patch)
    return interpolate_positions(sinusoid_table(math.prod(native), dim), native, grid)


def sincos_table(grid: Grid, dim: int) -> Tensor:
    """V-JEPA's: half of the channels for the step, a quarter each for row and column; float32 (1, N, dim)."""
    parts = []
    for coordinate, width in zip(
        _coordinates(grid, torch.float64), (dim // 2, dim // 4, dim // 4), strict=True
    ):
        frequency = torch.arange(width // 2, dtype=torch.float64) / (width / 2)
        angle = coordinate[:, None] / 10000**frequency
        parts += [angle.sin(), angle.cos()]
    table = torch.cat(parts, dim=1).float()
    return F.pad(table, (0, dim - table.shape[1]))[None]


def resize_volume(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """``table`` for a ``new`` grid, trilinear (V-JEPA 1, PySlowFast)."""
    if old == new:
        return table
    volume = table.unflatten(1, old).permute(0, 4, 1, 2, 3)
    return F.interpolate(volume, size=new, mode="trilinear", align_corners=False).flatten(2).transpose(1, 2)


def rotary(grid: Grid, head_dim: int, like: Tensor, keep: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """V-JEPA 2's rotation of queries and keys (B, heads, N, ``head_dim``) by their places in the grid.

    Step, row and column each turn an equal even number of channels; the rest stay. Neighbouring channels are a pair,
    but get the angles of different frequencies, as in the original, with which the published weights were trained.

    Args:
        like: a tensor on the device; angles are float64 if it is, otherwise float32.
        keep: indices (B, N) of the tokens that are present; ``None``: all.
    """
    part = 2 * (head_dim // 3 // 2)
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    omega = 10000 ** (-torch.arange(part // 2, dtype=dtype, device=like.device) / (part / 2))
    angles = [(c[:, None] * omega).repeat(1, 2) for c in _coordinates(grid, dtype, like.device)]
    angle = F.pad(torch.cat(angles, dim=1), (0, head_dim - 3 * part))
    cos, sin = angle.cos(), angle.sin()
    if keep is not None:
        cos, sin = cos[keep].unsqueeze(1), sin[keep].unsqueeze(1)

    def rotate(x: Tensor) -> Tensor:
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([-second, first], dim=-1).flatten(-2)
        return (x * cos + turned * sin).to(x.dtype)

    return rotate


def _coordinates(grid: Sequence[int], dtype: torch.dtype, device: torch.device | None = None) -> list[Tensor]:
    """Step, row and column of each token."""
    axes = [torch.arange(size, dtype=dtype, device=device) for size in grid]
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]
