"""Parts of plain video transformers: attention, and the block of attention and MLP."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ...utils.errors import UserError
from .multiscale import Mlp

__all__ = ["QKV_BIASES", "Attention", "Block", "check_heads", "drop_path", "initialize"]

QKV_BIASES = ("none", "qv", "full")


def check_heads(heads: int, dim: int) -> None:
    """Refuse a number of heads that does not divide the width."""
    if dim % heads:
        raise UserError(f"{heads} heads do not divide the width {dim} of a transformer")


def drop_path(rate: float) -> nn.Module:
    """In training, a residual branch is zeroed for this share of the samples (Huang et al., ECCV 2016)."""
    return StochasticDepth(rate, "row") if rate else nn.Identity()


class Attention(nn.Module):
    """Multi-head self-attention with one linear layer for queries, keys and values, in this order, each by head.

    Args:
        dim: width of the tokens.
        heads: number of heads; divides ``dim``.
        bias: of ``qkv``: "none", "qv" (parameters ``q_bias`` and ``v_bias``; a bias of the keys would not change the
            result), or "full".
    """

    def __init__(self, dim: int, heads: int, bias: str = "full") -> None:
        super().__init__()
        check_heads(heads, dim)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias == "full")
        self.q_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if bias == "qv" else None
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotate: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D). ``rotate``: applied to queries and keys (B, heads, N, D / heads)."""
        bias: Tensor | None = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rotate is not None:
            query, key = rotate(query), rotate(key)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each with a norm before it and a residual connection.

    Args:
        mlp_ratio: width of the MLP's hidden layer per width of the tokens.
        eps: of the layer norms.
        drop_path_rate: share of samples for which a branch is left out in training.
        layer_scale: initial factor of the branches, learned by channel (``gamma_1``, ``gamma_2``); 0: none.
        dim, heads, bias: as in :class:`Attention`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float = 4.0,
        bias: str = "full",
        eps: float = 1e-6,
        drop_path_rate: float = 0.0,
        layer_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio + 1e-6), dim)
        self.drop_path = drop_path(drop_path_rate)
        self.gamma_1 = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None
        self.gamma_2 = nn.Parameter(torch.full((dim,), layer_scale)) if layer_scale else None

    def forward(self, x: Tensor, rotate: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); ``rotate`` as in :class:`Attention`."""
        x = x + self.drop_path(_scaled(self.attn(self.norm1(x), rotate), self.gamma_1))
        return x + self.drop_path(_scaled(self.mlp(self.norm2(x)), self.gamma_2))


def initialize(module: nn.Module) -> None:
    """Linear weights from a normal distribution of width 0.02, cut at twice that; biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else gamma * x
