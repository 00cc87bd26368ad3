"""Parts of MViT: attention with pooled queries, keys and values, and the block of attention and MLP."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from .multiscale import Mlp
from .positions import Grid

__all__ = ["MViTBlock", "PoolingAttention", "triple"]


def _pooled(tokens: Tensor, grid: Grid, pool: nn.Module, has_class: bool) -> tuple[Tensor, Grid]:
    """(B, N, C) pooled in space and time, and the new grid. A class token, the first one, stays."""
    volume = pool(tokens[:, has_class:].transpose(1, 2).unflatten(2, grid))
    rest = volume.flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :1], rest], dim=1) if has_class else rest, triple(volume.shape[2:])


class PoolingAttention(nn.Module):
    """Attention with pooled queries, keys and values, and decomposed relative positions.

    Args:
        width, out_width: of tokens before and after.
        heads: number of heads.
        grid: (T, H, W) of the tokens for which the tables of relative positions are made.
        kernel: (T, H, W) of the convolutions that pool.
        q_stride, kv_stride: of the pooling of queries, and of keys and values; empty: none.
        has_class: the first token is the class token, which is not pooled.
        qkv_bias, spatial, temporal, residual_pooling: as ``qkv_bias``, ``rel_pos_spatial``, ``rel_pos_temporal`` and
            ``residual_pooling`` of :class:`~.mvit.MViT`.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        heads: int,
        grid: Grid,
        kernel: Sequence[int],
        q_stride: Sequence[int],
        kv_stride: Sequence[int],
        has_class: bool,
        qkv_bias: bool,
        spatial: bool,
        temporal: bool,
        residual_pooling: bool,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.has_class = has_class
        self.residual_pooling = residual_pooling
        head_width = out_width // heads
        self.qkv = nn.Linear(width, 3 * out_width, bias=qkv_bias)
        self.proj = nn.Linear(out_width, out_width)
        for name, stride in (("q", q_stride), ("k", kv_stride), ("v", kv_stride)):
            # A kernel of one token that skips none does nothing.
            if stride and math.prod(kernel) * math.prod(stride) > 1:
                sizes = (triple(kernel), triple(stride), triple([size // 2 for size in kernel]))
                pool = nn.Conv3d(head_width, head_width, *sizes, groups=head_width, bias=False)
                self.add_module(f"pool_{name}", pool)
                self.add_module(f"norm_{name}", nn.LayerNorm(head_width, eps=1e-6))
        # Tables for the distances between the finer of queries and keys; time is never pooled in published networks.
        for axis, wanted in (("t", temporal), ("h", spatial), ("w", spatial)):
            i = "thw".index(axis)
            finest = max(
                grid[i] // stride[i] if stride and axis != "t" else grid[i]
                for stride in (q_stride, kv_stride)
            )
            table = nn.Parameter(torch.empty(2 * finest - 1, head_width)) if wanted else None
            self.register_parameter(f"rel_pos_{axis}", table)
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, q_grid = self._pool("q", q, grid)
        k, k_grid = self._pool("k", k, grid)
        v, _ = self._pool("v", v, grid)
        out = self._attend(q, k, v, q_grid, k_grid)
        if self.residual_pooling:
            skipped = int(self.has_class)
            out = torch.cat([out[:, :, :skipped], out[:, :, skipped:] + q[:, :, skipped:]], dim=2)
        return self.proj(out.transpose(1, 2).flatten(2)), q_grid

    def _pool(self, name: str, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """(B, heads, N, C) pooled and normalized, the class token normalized alone."""
        if not hasattr(self, f"pool_{name}"):
            return tokens, grid
        pooled, grid = _pooled(tokens.flatten(0, 1), grid, getattr(self, f"pool_{name}"), self.has_class)
        return getattr(self, f"norm_{name}")(pooled.unflatten(0, (-1, self.heads))), grid

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, q_grid: Grid, k_grid: Grid) -> Tensor:
        """The term of relative positions, q * R[distance along an axis], depends on the key's index along that axis
        alone. So it is a product, too: of more channels of the query (its terms for all indices) and of the key (1 at
        its index). One call computes both, and no matrix of queries times keys is kept."""
        scale = q.shape[-1] ** -0.5
        terms, places = [], []
        volume = q[:, :, self.has_class :].unflatten(2, q_grid)
        for i, axis in enumerate("thw"):
            table = getattr(self, f"rel_pos_{axis}")
            if table is not None:
                rows = _relative(table, q_grid[i], k_grid[i]).to(q.dtype)
                # b: batch, n: heads, t, h, w: query, k: key.
                terms.append(torch.einsum(f"bnthwc,{axis}kc->bnthwk", volume, rows).flatten(2, 4))
                index = torch.arange(k_grid[i], device=q.device).repeat_interleave(math.prod(k_grid[i + 1 :]))
                places.append(F.one_hot(index.repeat(math.prod(k_grid[:i])), k_grid[i]).to(q.dtype))
        if not terms:
            return F.scaled_dot_product_attention(q, k, v)
        # The class token has no position: its channels are 0.
        more_q = F.pad(torch.cat(terms, dim=-1), (0, 0, int(self.has_class), 0))
        more_k = F.pad(torch.cat(places, dim=-1), (0, 0, int(self.has_class), 0)).expand(*k.shape[:2], -1, -1)
        width = v.shape[-1]
        v = F.pad(v, (0, more_q.shape[-1]))  # fused kernels take one width for all
        q = torch.cat([q * scale, more_q], dim=-1)
        k = torch.cat([k, more_k], dim=-1)
        return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :width]


class MViTBlock(nn.Module):
    """Pooling attention, then an MLP.

    The attention widens (version 2) or the MLP (version 1). The shortcut beside it is a linear layer of its normalized
    input.

    Args:
        width, out_width: of tokens before and after.
        attention: from ``width`` to either of the two.
        q_stride: of the attention's queries, by which the shortcut is pooled, too; empty: not at all.
        mlp_ratio: hidden width of the MLP per width.
        drop_path: probability of dropping a residual in training.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        attention: PoolingAttention,
        q_stride: Sequence[int],
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        inner = attention.proj.out_features
        self.widens_in_attention = inner != width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(inner, eps=1e-6)
        self.mlp = Mlp(inner, int(inner * mlp_ratio), out_width)
        self.proj = nn.Linear(width, out_width) if width != out_width else None
        self.drop_path = StochasticDepth(drop_path, "row")
        self.pool_skip: nn.Module | None = None
        if q_stride and math.prod(q_stride) > 1:
            size = tuple(s + 1 if s > 1 else s for s in q_stride)
            self.pool_skip = nn.MaxPool3d(size, tuple(q_stride), tuple(s // 2 for s in size))

    def forward(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """Tokens (B, N, C) and their grid (T, H, W), after the block."""
        normed = self.norm1(tokens)
        attended, new_grid = self.attn(normed, grid)
        if self.proj is not None and self.widens_in_attention:
            tokens = self.proj(normed)
        if self.pool_skip is not None:
            tokens, _ = _pooled(tokens, grid, self.pool_skip, self.attn.has_class)
        tokens = tokens + self.drop_path(attended)
        normed = self.norm2(tokens)
        if self.proj is not None and not self.widens_in_attention:
            tokens = self.proj(normed)
        return tokens + self.drop_path(self.mlp(normed)), new_grid


def _relative(table: Tensor, queries: int, keys: int) -> Tensor:
    """The rows (``queries``, ``keys``, C) of a table of distances along an axis, from the most negative one.

    A distance counts steps of the finer of the two, as PySlowFast has it; a table of another length is resized
    linearly.
    """
    rows = 2 * max(queries, keys) - 1
    if len(table) != rows:
        table = F.interpolate(table.T[None], size=rows, mode="linear")[0].T
    q_step, k_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
    q_place = torch.arange(queries, device=table.device)[:, None] * q_step
    k_place = torch.arange(keys, device=table.device)[None, :] * k_step
    return table[(q_place - k_place + (keys - 1) * k_step).long()]


def triple(values: Sequence[int]) -> tuple[int, int, int]:
    time, height, width = values
    return time, height, width
