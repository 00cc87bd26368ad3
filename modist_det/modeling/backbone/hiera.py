"""``Hiera``: a hierarchical transformer of plain blocks (Ryali et al., ICML 2023), for videos and images.

Tokens are kept in an order in which pooling and windows are reshapes. A token's row is ``8 * unit + 4 * c + 2 * b + a``
with bits a, b, c (likewise its column): the sequence is sorted by a, then b, then c, then the mask unit. So the
maximum over the first axis of (a, rest) pools 2x2 tokens, then that of (b, rest), and the mask units are always the
fastest index.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, ListOf, add_section
from ...utils.errors import UserError
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .multiscale import (
    Mlp,
    block_count,
    check_features,
    drop_rates,
    initialize_transformer,
    interpolate_positions,
    pad_clip,
    run_block,
)
from .shapes import kernel_shape

__all__ = ["Hiera", "HieraBlock"]

# B for videos. Two values in INPUT_SIZE (height, width) are a network for images.
add_section(
    "MODEL.HIERA",
    INPUT_SIZE=Key(
        [16, 224, 224], ListOf(int, limit=COUNT)
    ),  # of the table of positions; clips may have any size
    EMBED_DIM=Key(96, COUNT),  # of the first stage; width and heads double with each stage
    NUM_HEADS=Key(1, COUNT),
    STAGES=Key([2, 3, 16, 3], ListOf(int, limit=COUNT)),  # blocks
    Q_POOL=Key(3, NOT_NEGATIVE),  # so many stages begin with pooling
    Q_STRIDE=Key([1, 2, 2], ListOf(int, limit=COUNT)),
    MASK_UNIT_SIZE=Key([1, 8, 8], ListOf(int, limit=COUNT)),  # tokens of a window of the first stages
    PATCH_KERNEL=Key([3, 7, 7], ListOf(int, limit=COUNT)),
    PATCH_STRIDE=Key([2, 4, 4], ListOf(int, limit=COUNT)),
    PATCH_PADDING=Key([1, 3, 3], ListOf(int, limit=NOT_NEGATIVE)),
    MLP_RATIO=Key(4.0, POSITIVE),
    SEP_POS_EMBED=True,  # a table for space and one for time, not one for both
    FEATURES="map",  # or "pooled": the vector of Hiera's own classifier
    MAP_STAGE=Key(4, COUNT),  # the map is that of this stage; later stages are not built
    DROP_PATH=Key(0.0, SHARE),  # of the last block; it grows linearly from 0 at the first
    CHECKPOINTING=False,  # less memory in training: activations are computed again for the backward pass
)

_SIZES = {  # embed_dim, num_heads, stages
    "T": (96, 1, (1, 2, 7, 2)),
    "S": (96, 1, (1, 2, 11, 2)),
    "B": (96, 1, (2, 3, 16, 3)),
    "B+": (112, 2, (2, 3, 16, 3)),
    "L": (144, 2, (2, 6, 36, 4)),
    "H": (256, 4, (2, 6, 36, 4)),
}
_HEADS = {width: heads for width, heads, _ in _SIZES.values()}
# Stages with attention in windows. The first block of a stage, which pools, still attends as the stage before it.
_WINDOWED_STAGES = 2


class HieraBlock(nn.Module):
    """Attention, in windows or of all tokens, with pooled queries, then an MLP.

    Args:
        width, out_width: of tokens before and after; where they differ, the shortcut is a linear layer of the
            normalized input.
        heads: of the attention.
        mlp_ratio: hidden width of the MLP per width.
        pool: so many tokens become one (1: no pooling).
        windowed: each mask unit attends to itself alone.
        drop_path: probability of dropping a residual in training.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        heads: int,
        mlp_ratio: float = 4.0,
        pool: int = 1,
        windowed: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.windowed = windowed
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, out_width, heads, pool)
        if width != out_width:
            self.proj = nn.Linear(width, out_width)
        self.norm2 = nn.LayerNorm(out_width, eps=1e-6)
        self.mlp = Mlp(out_width, int(out_width * mlp_ratio), out_width)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, tokens: Tensor, windows: int) -> Tensor:
        """(B, N, ``width``) -> (B, N / ``pool``, ``out_width``); ``windows``: number of mask units in the sequence."""
        normed = self.norm1(tokens)
        if hasattr(self, "proj"):
            tokens = _pool(self.proj(normed), self.pool)
        tokens = tokens + self.drop_path(self.attn(normed, windows if self.windowed else 1))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class _Attention(nn.Module):
    def __init__(self, width: int, out_width: int, heads: int, pool: int) -> None:
        super().__init__()
        self.heads = heads
        self.pool = pool
        self.qkv = nn.Linear(width, 3 * out_width)
        self.proj = nn.Linear(out_width, out_width)

    def forward(self, tokens: Tensor, windows: int) -> Tensor:
        """(B, N * ``windows``, C): the windows are the faster index. They become a part of the batch."""
        if windows > 1:
            tokens = tokens.unflatten(1, (-1, windows)).transpose(1, 2).flatten(0, 1)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(_pool(q, self.pool, dim=2), k, v)
        out = self.proj(out.transpose(1, 2).flatten(2))
        if windows > 1:
            out = out.unflatten(0, (-1, windows)).transpose(1, 2).flatten(1, 2)
        return out


@BACKBONE_REGISTRY.register()
class Hiera(Backbone):
    """Hiera: each stage has half the resolution (in space) and twice the width of the one before.

    Clips may have any size: they are padded with zeros to whole mask units, and positions are interpolated (linear in
    time, bicubic in space). The names of the arguments are those of Hiera's own code.

    Args:
        input_size: (frames, height, width) of the clips that the positions are for; (height, width): a network for
            images, of which a clip is a series.
        embed_dim, num_heads: of the first stage.
        stages: blocks of each stage.
        q_pool: so many stages after the first begin with pooling: all three, but two in pretraining.
        q_stride: of the pooling.
        mask_unit_size: tokens of a window, before pooling.
        patch_kernel, patch_stride, patch_padding: of the convolution from pixels to tokens.
        mlp_ratio: hidden width of the MLPs per width.
        sep_pos_embed: there are two tables of positions, for space and for time. Images have one table.
        features: "map", or "pooled": the normalized mean over all tokens as a map of one cell, which is the input of
            Hiera's classifier. ``spatial_stride`` is then 0.
        map_stage: the stage (from 1) whose map is the result; later ones are not built.
        drop_path: of the last block.
        checkpointing: in training, activations are computed again for the backward pass.
        in_channels: of the clip.

    Raises:
        UserError: sizes that do not fit together.
    """

    untraced_keys = tuple(
        f"MODEL.HIERA.{key}"
        for key in ("NUM_HEADS", "Q_POOL", "Q_STRIDE", "MASK_UNIT_SIZE", "PATCH_STRIDE", "PATCH_PADDING")
    )

    def __init__(
        self,
        input_size: Sequence[int] = (16, 224, 224),
        embed_dim: int = 96,
        num_heads: int = 1,
        stages: Sequence[int] = (2, 3, 16, 3),
        q_pool: int = 3,
        q_stride: Sequence[int] = (1, 2, 2),
        mask_unit_size: Sequence[int] = (1, 8, 8),
        patch_kernel: Sequence[int] = (3, 7, 7),
        patch_stride: Sequence[int] = (2, 4, 4),
        patch_padding: Sequence[int] = (1, 3, 3),
        mlp_ratio: float = 4.0,
        sep_pos_embed: bool = True,
        features: str = "map",
        map_stage: int = 4,
        drop_path: float = 0.0,
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_features(features, "MODEL.HIERA")
        if len(input_size) not in (2, 3):
            raise UserError(
                f"MODEL.HIERA.INPUT_SIZE is {list(input_size)}, but takes [T, H, W], or [H, W] for images"
            )
        is_image = len(input_size) == 2
        # An image is a clip of one frame, and a setting for images has no first value.
        input_size, q_stride, mask_unit_size, patch_kernel, patch_stride = (
            _of_video(size, 1, is_image)
            for size in (input_size, q_stride, mask_unit_size, patch_kernel, patch_stride)
        )
        patch_padding = _of_video(patch_padding, 0, is_image)
        self.num_heads = num_heads
        self.q_pool = min(q_pool, len(stages) - 1)
        self.q_stride = q_stride
        self.mask_unit_size = mask_unit_size
        self.patch_stride = patch_stride
        self.patch_padding = patch_padding
        self.features = features
        self.checkpointing = checkpointing
        # Tokens that belong together: of all pooling steps, and of a window.
        self.levels = len(stages) - 1
        unit = tuple(math.lcm(s**self.levels, m) for s, m in zip(q_stride, mask_unit_size, strict=True))
        self.clip_multiple = tuple(s * u for s, u in zip(patch_stride, unit, strict=True))
        if any(size % multiple for size, multiple in zip(input_size, self.clip_multiple, strict=True)):
            raise UserError(
                f"MODEL.HIERA.INPUT_SIZE {list(input_size)} must be multiples of {list(self.clip_multiple)}, "
                "the pixels of a mask unit"
            )
        self.grid = tuple(size // stride for size, stride in zip(input_size, patch_stride, strict=True))

        convolution = nn.Conv3d(in_channels, embed_dim, patch_kernel, patch_stride, patch_padding)
        self.patch_embed = nn.ModuleDict({"proj": convolution})
        self.separate_positions = sep_pos_embed and not is_image
        area = self.grid[1] * self.grid[2]
        if self.separate_positions:
            self.pos_embed_spatial = nn.Parameter(torch.empty(1, area, embed_dim))
            self.pos_embed_temporal = nn.Parameter(torch.empty(1, self.grid[0], embed_dim))
        else:
            self.pos_embed = nn.Parameter(torch.empty(1, self.grid[0] * area, embed_dim))

        self.blocks = nn.ModuleList()
        self.stage_ends = [sum(stages[: i + 1]) - 1 for i in range(min(map_stage, len(stages)))]
        rates = drop_rates(drop_path, sum(stages))
        width = embed_dim
        for stage, depth in enumerate(stages[:map_stage]):
            for i in range(depth):
                first = i == 0 and stage > 0
                out_width = embed_dim * 2**stage
                self.blocks.append(
                    HieraBlock(
                        width,
                        out_width,
                        num_heads * 2**stage,
                        mlp_ratio,
                        pool=math.prod(q_stride) if first and stage <= self.q_pool else 1,
                        windowed=stage - first < _WINDOWED_STAGES,
                        drop_path=rates[len(self.blocks)],
                    )
                )
                width = out_width
        self.norm = nn.LayerNorm(width, eps=1e-6)

        self.out_channels = (width,)
        is_map = features == "map"
        self.temporal_strides = (self._stride(-1)[0] if is_map else 0,)
        self.spatial_stride = self._stride(-1)[1] if is_map else 0
        initialize_transformer(self)

    @classmethod
    def preset(cls, size: str, image: bool = False, **changes: Any) -> Hiera:
        """The published network of a size: T, S, B, B+, L or H; videos have B, B+, L and H.

        Args:
            image: for images of 224 pixels instead of clips of 16 such frames.
            changes: other arguments of the constructor.
        """
        if size not in _SIZES:
            raise UserError(f"there is no Hiera of size {size!r} (known: {', '.join(_SIZES)})")
        width, heads, stages = _SIZES[size]
        arguments: dict[str, Any] = {"embed_dim": width, "num_heads": heads, "stages": stages}
        return cls(**arguments | ({"input_size": (224, 224)} if image else {}) | changes)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Hiera:
        """Built from ``cfg.MODEL.HIERA``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **section_arguments(cfg.MODEL.HIERA))

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """For square inputs with the usual strides. Heads are those of a published network of this width."""
        kernel = kernel_shape(tensors, "patch_embed.proj.weight")
        hidden = tensors.get("blocks.0.mlp.fc1.weight")
        positions = tensors.get("pos_embed_spatial", tensors.get("pos_embed"))
        blocks = block_count(tensors)
        if kernel is None or hidden is None or positions is None or not blocks:
            return {}
        ends = [i for i in range(blocks) if f"blocks.{i}.proj.weight" in tensors] + [blocks]
        if len(ends) < 2 or any(".attn.pool_" in name or ".rel_pos_" in name for name in tensors):
            return {}
        side = 4 * math.isqrt(positions.shape[1])
        separate = "pos_embed_spatial" in tensors
        time = [2 * tensors["pos_embed_temporal"].shape[1]] if separate else []
        keys: dict[str, Any] = {
            "INPUT_SIZE": [*time, side, side],
            "EMBED_DIM": kernel[0],
            "STAGES": [end - start for start, end in zip([0, *ends], ends, strict=False)],
            "PATCH_KERNEL": list(kernel[2:]) if separate else [3, *kernel[3:]],
            "MLP_RATIO": hidden.shape[0] / hidden.shape[1],
            "SEP_POS_EMBED": True,
        }
        if heads := _HEADS.get(kernel[0]):
            keys["NUM_HEADS"] = heads
        fused = sum(
            re.fullmatch(r"multi_scale_fusion_heads\.\d+\.weight", name) is not None for name in tensors
        )
        if fused:
            keys["Q_POOL"] = fused
        return {f"MODEL.HIERA.{key}": value for key, value in keys.items()}

    def adapt(self, tensors: dict[str, Tensor]) -> list[tuple[str, str]]:
        """Leave out the stages after the map's; where the file's norm is another one's, it starts anew."""
        changes = [
            (name, f"beyond stage {len(self.stage_ends)}, whose map is used")
            for name in tensors
            if (match := re.match(r"blocks\.(\d+)\.", name)) and int(match[1]) >= len(self.blocks)
        ]
        for name, _ in changes:
            del tensors[name]
        norm = {f"norm.{kind}": value for kind, value in self.norm.state_dict().items()}
        for name, value in norm.items():
            if "blocks.0.norm1.weight" in tensors and (
                name not in tensors or (changes and tensors[name].shape != value.shape)
            ):
                tensors[name] = value
                changes.append((name, "of another stage in the file, or not in it: starts anew"))
        return changes

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> [(B, ``out_channels[0]``, T', H', W')]; T', H' and W' are 1 for pooled features.

        Each vector is normalized; a pooled one after the mean.
        """
        last = self.stage_maps(clip, [len(self.stage_ends) - 1])[0]
        if self.features == "pooled":
            last = last.mean(dim=(2, 3, 4), keepdim=True)
        return [self.norm(last.movedim(1, -1)).movedim(-1, 1)]

    def stage_maps(self, clip: Tensor, stages: Sequence[int] | None = None) -> list[Tensor]:
        """The maps (B, C, T', H', W') at the ends of ``stages`` (from 0; ``None``: all), not normalized."""
        sizes = clip.shape[2:]
        tokens, grid = self.embed(pad_clip(clip, self.clip_multiple))
        ends = self.run_blocks(tokens, math.prod(grid) // math.prod(self.mask_unit_size))
        maps = []
        for stage in range(len(ends)) if stages is None else stages:
            cells = [math.ceil(n / s) for n, s in zip(sizes, self._stride(stage), strict=True)]
            whole = self.in_space(ends[stage], stage, grid)
            maps.append(whole[:, :, : cells[0], : cells[1], : cells[2]])
        return maps

    def embed(self, clip: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Clip of whole mask units -> tokens with positions (B, N, C), in the order of the blocks, and their grid."""
        patches = self.patch_embed["proj"](clip)
        grid = tuple(patches.shape[2:])
        tokens = patches.flatten(2).transpose(1, 2) + self._positions(grid)
        batch, _, width = tokens.shape
        # Per axis: mask unit, last bit to be pooled, ..., first bit.
        split = [
            part for n, s in zip(grid, self.q_stride, strict=True) for part in self._split(n, s, self.levels)
        ]
        return tokens.view(batch, *split, width).permute(_order(self.levels)).reshape(batch, -1, width), grid

    def run_blocks(self, tokens: Tensor, windows: int) -> list[Tensor]:
        """Tokens (B, N, C) -> those at the end of each stage."""
        ends = []
        for i, block in enumerate(self.blocks):
            tokens = run_block(block, tokens, windows, checkpointing=self.checkpointing and self.training)
            if i in self.stage_ends:
                ends.append(tokens)
        return ends

    def in_space(self, tokens: Tensor, stage: int, grid: Sequence[int]) -> Tensor:
        """Tokens at the end of a stage -> map (B, C, T', H', W').

        Args:
            grid: of the first stage.
        """
        pools = min(stage, self.q_pool)
        levels = self.levels - pools
        batch, _, width = tokens.shape
        sizes = [n // s**pools for n, s in zip(grid, self.q_stride, strict=True)]
        order = _order(levels)
        split = [
            part for n, s in zip(sizes, self.q_stride, strict=True) for part in self._split(n, s, levels)
        ]
        ordered = tokens.view(batch, *[split[axis - 1] for axis in order[1:-1]], width)
        back = [order.index(axis) for axis in range(len(order))]
        return ordered.permute(back).reshape(batch, *sizes, width).movedim(-1, 1)

    def _split(self, size: int, stride: int, levels: int) -> list[int]:
        return [size // stride**levels, *[stride] * levels]

    def _stride(self, stage: int) -> tuple[int, ...]:
        """Pixels (T, H, W) per cell of a stage's map."""
        pools = min(range(len(self.stage_ends))[stage], self.q_pool)
        return tuple(p * q**pools for p, q in zip(self.patch_stride, self.q_stride, strict=True))

    def _positions(self, grid: Sequence[int]) -> Tensor:
        """(1, N, C), by time, row and column."""
        if not self.separate_positions:
            return interpolate_positions(self.pos_embed, self.grid, grid)
        space = interpolate_positions(self.pos_embed_spatial, (1, *self.grid[1:]), (1, *grid[1:]))
        time = interpolate_positions(self.pos_embed_temporal, (self.grid[0], 1, 1), (grid[0], 1, 1))
        return (time.unsqueeze(2) + space.unsqueeze(1)).flatten(1, 2)


def _of_video(size: Sequence[int], first: int, is_image: bool) -> tuple[int, int, int]:
    """(time, height, width); for images, ``first`` is the value for time."""
    time, height, width = (first, *size[-2:]) if is_image else size
    return time, height, width


def _order(levels: int) -> list[int]:
    """The axes (batch; of time, rows, columns each the mask unit, last bit, ..., first bit; channels) as blocks have
    them."""
    axes = [1 + axis * (levels + 1) + part for part in range(levels, -1, -1) for axis in range(3)]
    return [0, *axes, 1 + 3 * (levels + 1)]


def _pool(tokens: Tensor, pool: int, dim: int = 1) -> Tensor:
    """The maximum over the first ``pool`` parts of the sequence, which is axis ``dim``."""
    return tokens.unflatten(dim, (pool, -1)).amax(dim) if pool > 1 else tokens
