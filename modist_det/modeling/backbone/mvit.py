"""``MViT``: multiscale vision transformers for videos (Fan et al., ICCV 2021), and version 2 (Li et al., CVPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, ListOf, add_section
from ...utils.errors import UserError
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .multiscale import block_count, check_features, drop_rates, initialize_transformer, run_block
from .mvit_block import MViTBlock, PoolingAttention, triple
from .positions import Grid, resize_volume
from .shapes import kernel_shape

__all__ = ["MViT"]


def _q_strides(depth: int, pooling: Sequence[int], all_blocks: bool = True) -> list[list[int]]:
    """POOL_Q_STRIDE: 1x2x2 in the blocks ``pooling``; kernels of stride 1 in the others, or none."""
    strides = {i: [i, 1, 2, 2] if i in pooling else [i, 1, 1, 1] for i in range(depth)}
    return [stride for i, stride in strides.items() if all_blocks or i in pooling]


# Version 2, size S. The keys are PySlowFast's (MVIT), except INPUT_SIZE, FEATURES, DROP_PATH and CHECKPOINTING.
add_section(
    "MODEL.MVIT",
    INPUT_SIZE=Key(
        [16, 224, 224], ListOf(int, 3, COUNT)
    ),  # of the tables of positions; clips may have any size
    DEPTH=Key(16, COUNT),
    EMBED_DIM=Key(96, COUNT),
    NUM_HEADS=Key(1, COUNT),
    # [block, factor] for the width and the heads; without DIM_MUL_IN_ATT, the MLP of the block before widens.
    DIM_MUL=Key([[1, 2.0], [3, 2.0], [14, 2.0]], ListOf(float, limit=NOT_NEGATIVE, lists=True)),
    HEAD_MUL=Key([[1, 2.0], [3, 2.0], [14, 2.0]], ListOf(float, limit=NOT_NEGATIVE, lists=True)),
    DIM_MUL_IN_ATT=True,
    POOL_KVQ_KERNEL=Key([3, 3, 3], ListOf(int, 3, COUNT)),
    # [block, T, H, W]; queries are not pooled in blocks that are not listed.
    POOL_Q_STRIDE=Key(_q_strides(16, (1, 3, 14)), ListOf(int, limit=NOT_NEGATIVE, lists=True)),
    # Of keys and values in the first block; divided by each stride of the queries. []: they are not pooled.
    POOL_KV_STRIDE_ADAPTIVE=Key([1, 8, 8], ListOf(int, limit=COUNT)),
    RESIDUAL_POOLING=True,  # queries are added to what the attention gives
    REL_POS_SPATIAL=True,
    REL_POS_TEMPORAL=True,
    USE_ABS_POS=False,
    SEP_POS_EMBED=False,  # of USE_ABS_POS: a table for space and one for time, not one for both
    CLS_EMBED_ON=True,
    USE_MEAN_POOLING=False,  # of FEATURES pooled: the mean of all tokens, not the class token
    PATCH_KERNEL=Key([3, 7, 7], ListOf(int, 3, COUNT)),
    PATCH_STRIDE=Key([2, 4, 4], ListOf(int, 3, COUNT)),
    PATCH_PADDING=Key([1, 3, 3], ListOf(int, 3, NOT_NEGATIVE)),
    MLP_RATIO=Key(4.0, POSITIVE),
    QKV_BIAS=True,
    FEATURES="map",  # or "pooled": the vector of MViT's own classifier
    DROP_PATH=Key(0.0, SHARE),  # of the last block; it grows linearly from 0 at the first
    CHECKPOINTING=False,  # less memory in training: activations are computed again for the backward pass
)

# Layers whose rows show a block's width, and that of its attention, of its MLP inside and after it.
_WIDTHS = ("norm1", "attn.proj", "mlp.fc1", "mlp.fc2")
_VERSION_1: dict[str, Any] = {
    "dim_mul_in_att": False,
    "residual_pooling": False,
    "rel_pos_spatial": False,
    "rel_pos_temporal": False,
    "use_abs_pos": True,
    "sep_pos_embed": True,
}
# Clip, depth, width, heads, blocks that pool queries and double width and heads.
_SIZES = {
    "v1-B": ((16, 224, 224), 16, 96, 1, (1, 3, 14)),
    "v2-S": ((16, 224, 224), 16, 96, 1, (1, 3, 14)),
    "v2-B": ((32, 224, 224), 24, 96, 1, (2, 5, 21)),
    "v2-L": ((40, 312, 312), 48, 144, 2, (2, 8, 44)),
}


@BACKBONE_REGISTRY.register()
class MViT(Backbone):
    """MViT with PySlowFast's layers and names of arguments (those of its ``MVIT`` keys).

    Clips may have any size: absolute positions are resized trilinearly, tables of relative positions linearly.

    Args:
        input_size: (frames, height, width) of the clips that the positions are for.
        depth, embed_dim, num_heads: number of blocks; width and heads of the first.
        dim_mul, head_mul: (block, factor) pairs: from that block on, width or heads are multiplied. Without
            ``dim_mul_in_att``, the MLP of the block before widens.
        dim_mul_in_att: the attention widens (version 2).
        pool_kvq_kernel: (T, H, W) of the convolutions that pool queries, keys and values.
        pool_q_stride: (block, T, H, W) strides; queries are not pooled in other blocks.
        pool_kv_stride_adaptive: (T, H, W) stride of keys and values in the first block, divided by each stride of the
            queries down to 1; empty: they are not pooled.
        residual_pooling: pooled queries are added to the result of the attention, except the class token's.
        rel_pos_spatial, rel_pos_temporal: relative positions.
        use_abs_pos, sep_pos_embed: absolute positions; in two tables, for space and for time.
        cls_embed_on: a class token before the others.
        use_mean_pooling: pooled features are the normalized mean of all tokens, not the normalized class token.
        patch_kernel, patch_stride, patch_padding: of the convolution from pixels to tokens.
        mlp_ratio: hidden width of the MLPs per width.
        qkv_bias: queries, keys and values have a bias.
        features: "map", or "pooled": the input of MViT's classifier as a map of one cell (without class token, and
            without ``use_mean_pooling``, the mean of normalized tokens). ``spatial_stride`` is then 0.
        drop_path: probability of dropping a residual of the last block in training.
        checkpointing: in training, activations are computed again for the backward pass.
        in_channels: of the clip.
    """

    untraced_keys = tuple(
        f"MODEL.MVIT.{key}"
        for key in (
            "POOL_Q_STRIDE",
            "POOL_KV_STRIDE_ADAPTIVE",
            "RESIDUAL_POOLING",
            "USE_MEAN_POOLING",
            "PATCH_STRIDE",
            "PATCH_PADDING",
        )
    )

    cls_token: Tensor | None
    pos_embed: Tensor | None
    pos_embed_spatial: Tensor | None
    pos_embed_temporal: Tensor
    pos_embed_class: Tensor | None

    def __init__(
        self,
        input_size: Sequence[int] = (16, 224, 224),
        depth: int = 16,
        embed_dim: int = 96,
        num_heads: int = 1,
        dim_mul: Sequence[Sequence[float]] = ((1, 2.0), (3, 2.0), (14, 2.0)),
        head_mul: Sequence[Sequence[float]] = ((1, 2.0), (3, 2.0), (14, 2.0)),
        dim_mul_in_att: bool = True,
        pool_kvq_kernel: Sequence[int] = (3, 3, 3),
        pool_q_stride: Sequence[Sequence[int]] = tuple(_q_strides(16, (1, 3, 14))),
        pool_kv_stride_adaptive: Sequence[int] = (1, 8, 8),
        residual_pooling: bool = True,
        rel_pos_spatial: bool = True,
        rel_pos_temporal: bool = True,
        use_abs_pos: bool = False,
        sep_pos_embed: bool = False,
        cls_embed_on: bool = True,
        use_mean_pooling: bool = False,
        patch_kernel: Sequence[int] = (3, 7, 7),
        patch_stride: Sequence[int] = (2, 4, 4),
        patch_padding: Sequence[int] = (1, 3, 3),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        features: str = "map",
        drop_path: float = 0.0,
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_features(features, "MODEL.MVIT")
        self.pool_q_stride = [list(stride) for stride in pool_q_stride]
        self.pool_kv_stride_adaptive = list(pool_kv_stride_adaptive)
        self.residual_pooling = residual_pooling
        self.use_mean_pooling = use_mean_pooling
        self.patch_stride = list(patch_stride)
        self.patch_padding = list(patch_padding)
        self.features = features
        self.checkpointing = checkpointing
        self.grid = triple([size // stride for size, stride in zip(input_size, patch_stride, strict=True)])

        convolution = nn.Conv3d(
            in_channels, embed_dim, triple(patch_kernel), triple(patch_stride), triple(patch_padding)
        )
        self.patch_embed = nn.ModuleDict({"proj": convolution})
        area = self.grid[1] * self.grid[2]
        tables = {
            "cls_token": 1 if cls_embed_on else 0,
            "pos_embed_spatial": area if use_abs_pos and sep_pos_embed else 0,
            "pos_embed_temporal": self.grid[0] if use_abs_pos and sep_pos_embed else 0,
            "pos_embed_class": 1 if use_abs_pos and sep_pos_embed and cls_embed_on else 0,
            "pos_embed": self.grid[0] * area + cls_embed_on if use_abs_pos and not sep_pos_embed else 0,
        }
        for name, rows in tables.items():
            self.register_parameter(name, nn.Parameter(torch.empty(1, rows, embed_dim)) if rows else None)

        width_factors, head_factors = (
            {int(i): factor for i, factor in pairs} for pairs in (dim_mul, head_mul)
        )
        q_strides = {i: stride for i, *stride in pool_q_stride}
        kv_stride = list(pool_kv_stride_adaptive)
        grid, width, heads = self.grid, embed_dim, num_heads
        rates = drop_rates(drop_path, depth)
        self.blocks = nn.ModuleList()
        for i in range(depth):
            q_stride = q_strides.get(i, [])
            if q_stride:
                kv_stride = [max(kv // q, 1) for kv, q in zip(kv_stride, q_stride, strict=False)]
            heads = round(heads * head_factors.get(i, 1))
            out_width = round(width * width_factors.get(i if dim_mul_in_att else i + 1, 1))
            attention = PoolingAttention(
                width,
                out_width if dim_mul_in_att else width,
                heads,
                grid,
                pool_kvq_kernel,
                q_stride,
                kv_stride,
                cls_embed_on,
                qkv_bias,
                rel_pos_spatial,
                rel_pos_temporal,
                residual_pooling,
            )
            self.blocks.append(MViTBlock(width, out_width, attention, q_stride, mlp_ratio, rates[i]))
            grid = triple([size // stride for size, stride in zip(grid, q_stride or (1, 1, 1), strict=True)])
            width = out_width
        self.norm = nn.LayerNorm(width, eps=1e-6)

        pooled = [math.prod(stride[axis] for stride in q_strides.values()) for axis in range(3)]
        is_map = features == "map"
        self.out_channels = (width,)
        self.temporal_strides = (patch_stride[0] * pooled[0] if is_map else 0,)
        self.spatial_stride = patch_stride[1] * pooled[1] if is_map else 0
        initialize_transformer(self)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> MViT:
        """A published network: "v1-B", "v2-S", "v2-B" or "v2-L".

        Args:
            changes: other arguments of the constructor.
        """
        if name not in _SIZES:
            raise UserError(f"there is no MViT {name!r} (known: {', '.join(_SIZES)})")
        clip, depth, width, heads, pooling = _SIZES[name]
        is_first = name.startswith("v1")
        doubled = [(i, 2.0) for i in pooling]
        arguments: dict[str, Any] = {
            "input_size": clip,
            "depth": depth,
            "embed_dim": width,
            "num_heads": heads,
            "dim_mul": doubled,
            "head_mul": doubled,
            "pool_q_stride": _q_strides(depth, pooling, all_blocks=not is_first),
        }
        return cls(**arguments | (_VERSION_1 if is_first else {}) | changes)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MViT:
        """Built from ``cfg.MODEL.MVIT``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **section_arguments(cfg.MODEL.MVIT))

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """For networks that pool keys and values by convolutions down to the last map, have tables of positions, halve
        the resolution where heads double, and have a patch stride of 2x4x4.
        """
        depth = block_count(tensors)
        patches = kernel_shape(tensors, "patch_embed.proj.weight")
        pools = [kernel_shape(tensors, f"blocks.{i}.attn.pool_k.weight") for i in range(depth)]
        widths = [
            [len(tensors[name]) for part in _WIDTHS if (name := f"blocks.{i}.{part}.weight") in tensors]
            for i in range(depth)
        ]
        grid = _grid_of(tensors)
        if patches is None or grid is None or not pools or not all(pools):
            return {}
        if any(len(w) != len(_WIDTHS) or not all(w) for w in widths):
            return {}
        relative = "blocks.0.attn.rel_pos_h" in tensors
        heads = [
            attention // pool[0] for (_, attention, _, _), pool in zip(widths, pools, strict=True) if pool
        ]
        in_attention = any(attention > width for width, attention, _, _ in widths)
        shift = 0 if in_attention else 1
        factors = [(out / width) for width, _, _, out in widths]
        halving = [i for i in range(1, depth) if heads[i] > heads[i - 1]]
        strides = [
            [i, 1, 2, 2] if i in halving else [i, 1, 1, 1]
            for i in range(depth)
            if f"blocks.{i}.attn.pool_q.weight" in tensors
        ]
        final = 2 ** sum(stride[2] == 2 for stride in strides)
        separate = "pos_embed_spatial" in tensors
        keys = {
            "INPUT_SIZE": [2 * grid[0], 4 * grid[1], 4 * grid[2]],
            "DEPTH": depth,
            "EMBED_DIM": patches[0],
            "NUM_HEADS": heads[0],
            "DIM_MUL": [[i + shift, factor] for i, factor in enumerate(factors) if factor != 1],
            "HEAD_MUL": [[i, heads[i] / heads[i - 1]] for i in range(1, depth) if heads[i] != heads[i - 1]],
            "DIM_MUL_IN_ATT": in_attention,
            "POOL_KVQ_KERNEL": list(pools[0][2:]) if pools[0] else [],
            "POOL_Q_STRIDE": strides,
            "POOL_KV_STRIDE_ADAPTIVE": [1, final, final],
            "RESIDUAL_POOLING": relative,
            "REL_POS_SPATIAL": relative,
            "REL_POS_TEMPORAL": "blocks.0.attn.rel_pos_t" in tensors,
            "USE_ABS_POS": separate or "pos_embed" in tensors,
            "SEP_POS_EMBED": separate,
            "CLS_EMBED_ON": "cls_token" in tensors,
            "PATCH_KERNEL": list(patches[2:]),
            "MLP_RATIO": widths[0][2] / widths[0][1],
            "QKV_BIAS": "blocks.0.attn.qkv.bias" in tensors,
        }
        return {f"MODEL.MVIT.{key}": value for key, value in keys.items()}

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> [(B, ``out_channels[0]``, T', H', W')]; T', H' and W' are 1 for pooled features."""
        patches = self.patch_embed["proj"](clip)
        grid = triple(patches.shape[2:])
        tokens = self._with_positions(patches.flatten(2).transpose(1, 2), grid)
        for block in self.blocks:
            tokens, grid = run_block(block, tokens, grid, checkpointing=self.checkpointing and self.training)
        has_class = self.cls_token is not None
        if self.features == "map":
            return [self.norm(tokens)[:, has_class:].transpose(1, 2).unflatten(2, grid)]
        if self.use_mean_pooling:
            vector = self.norm(tokens[:, has_class:].mean(dim=1))
        else:
            normed = self.norm(tokens)
            vector = normed[:, 0] if has_class else normed.mean(dim=1)
        return [vector[:, :, None, None, None]]

    def _with_positions(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(B, N, C) with class token and absolute positions, as far as the network has them."""
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        if self.pos_embed_spatial is not None:
            table = (self.pos_embed_temporal.unsqueeze(2) + self.pos_embed_spatial.unsqueeze(1)).flatten(1, 2)
            first = self.pos_embed_class
        elif self.pos_embed is not None:
            rows = int(self.cls_token is not None)
            first, table = self.pos_embed[:, :rows], self.pos_embed[:, rows:]
        else:
            return tokens
        table = resize_volume(table, self.grid, grid)
        return tokens + (table if first is None else torch.cat([first, table], dim=1))


def _grid_of(tensors: Mapping[str, Tensor]) -> tuple[int, int, int] | None:
    """Tokens (T, H, W) of the tables of positions: of relative ones, or of separate ones for a square."""
    distances = [tensors.get(f"blocks.0.attn.rel_pos_{axis}") for axis in "thw"]
    time, height, width = [0 if table is None else (len(table) + 1) // 2 for table in distances]
    space, frames = tensors.get("pos_embed_spatial"), tensors.get("pos_embed_temporal")
    if space is not None and frames is not None:
        side = math.isqrt(space.shape[1])
        return frames.shape[1], side, space.shape[1] // max(side, 1)
    return (time or 1, height, width) if height and width else None
