"""What Hiera and MViT share: MLP, initialization, padding, checkpointing of blocks, positions of other grids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...utils.errors import UserError

__all__ = [
    "FEATURES",
    "Mlp",
    "block_count",
    "check_features",
    "drop_rates",
    "initialize_transformer",
    "interpolate_positions",
    "pad_clip",
    "run_block",
]

# What a transformer gives to the head: a feature map, or one vector for the whole clip, as a map of one cell.
FEATURES = ("map", "pooled")


class Mlp(nn.Module):
    """Linear layer, exact GELU, linear layer."""

    def __init__(self, width: int, hidden: int, out_width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out_width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def block_count(tensors: Mapping[str, Tensor]) -> int:
    """Number of the blocks of a network with these parameters, of which none may be missing; 0: there are none."""
    numbers = {
        int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.norm1\.weight", name))
    }
    return len(numbers) if numbers == set(range(len(numbers))) else 0


def drop_rates(rate: float, depth: int) -> list[float]:
    """Each block's probability of dropping a residual in training: from 0 at the first to ``rate`` at the last."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]


def initialize_transformer(network: nn.Module) -> None:
    """Hiera's and MViT's initialization: weights and free parameters (positions, class tokens) normal with deviation
    0.02, biases of linear layers and of LayerNorm 0.02."""
    for parameter in network.parameters(recurse=False):
        nn.init.trunc_normal_(parameter, std=0.02)
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv3d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
            nn.init.constant_(module.bias, 0.02)


def run_block(block: nn.Module, *inputs: Any, checkpointing: bool) -> Any:
    """``block(*inputs)``; with ``checkpointing`` its activations are computed again in the backward pass, not kept."""
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


def pad_clip(clip: Tensor, multiple: Sequence[int]) -> Tensor:
    """(B, C, T, H, W) with zeros after the last frame, row and column, up to multiples of (T, H, W)."""
    missing = [-size % unit for size, unit in zip(clip.shape[2:], multiple, strict=True)]
    return F.pad(clip, [0, missing[2], 0, missing[1], 0, missing[0]]) if any(missing) else clip


def interpolate_positions(table: Tensor, grid: Sequence[int], target: Sequence[int]) -> Tensor:
    """Positions (1, THW, D) of a ``grid`` (T, H, W) for another one: linear in time, bicubic in each frame."""
    if tuple(grid) == tuple(target):
        return table
    (frames, height, width), depth = grid, table.shape[2]
    in_time = table.reshape(frames, height * width * depth).T[None]
    if frames != target[0]:
        in_time = F.interpolate(in_time, size=target[0], mode="linear", align_corners=False)
    images = in_time[0].T.reshape(target[0], height, width, depth).permute(0, 3, 1, 2)
    if (height, width) != tuple(target[1:]):
        images = F.interpolate(images, size=tuple(target[1:]), mode="bicubic", align_corners=False)
    return images.permute(0, 2, 3, 1).reshape(1, -1, depth)


def check_features(features: str, section: str) -> None:
    """Refuse what is not one of :data:`FEATURES`."""
    if features not in FEATURES:
        raise UserError(f"{section}.FEATURES is {features!r}, but takes {' or '.join(FEATURES)}")
