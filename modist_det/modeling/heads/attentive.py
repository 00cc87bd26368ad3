"""``AttentiveHead``: V-JEPA's attentive classifier of a frozen or trained backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, CfgNode, Key, add_section
from ...utils.errors import UserError
from ..backbone import Backbone
from ..backbone.multiscale import Mlp
from ..backbone.transformer import Block, check_heads, initialize
from ..registry import HEAD_REGISTRY
from .linear import LinearHead

__all__ = ["AttentiveHead"]

add_section(
    "MODEL.ATTENTIVE_HEAD",
    DEPTH=Key(4, COUNT),  # with the cross attention
    HEADS=Key(0, NOT_NEGATIVE),  # 0: one for 64 channels
    EPS=Key(1e-5, POSITIVE),  # of layer norms; Hugging Face's has 1e-6
)


class CrossAttention(nn.Module):
    """One learned query attends to all tokens; without output layer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        check_heads(heads, dim)
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(self, query: Tensor, x: Tensor) -> Tensor:
        """(B, Q, D), (B, N, D) -> (B, Q, D)."""
        q = self.q(query).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = self.kv(x).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(2)


class CrossAttentionBlock(nn.Module):
    """Cross attention and MLP with residual connections. The norm before the attention is that of keys and values."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.xattn = CrossAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, 4 * dim, dim)

    def forward(self, query: Tensor, x: Tensor) -> Tensor:
        query = query + self.xattn(query, self.norm1(x))
        return query + self.mlp(self.norm2(query))


@HEAD_REGISTRY.register()
class AttentiveHead(LinearHead):
    """Transformer blocks, a query that attends to their tokens, and a linear layer (Bardes et al. 2024).

    Args:
        in_channels: of the single pathway.
        depth: number of blocks, the last of which is the cross attention.
        heads: of the attention; 0: one for 64 channels.
        eps: of the layer norms.
        num_classes, dropout, activation, init_std: as in :class:`LinearHead`.

    Raises:
        UserError: there is more than one pathway, or the heads do not divide the channels.
    """

    task = "classification"

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        depth: int = 4,
        heads: int = 0,
        dropout: float = 0.0,
        activation: str = "softmax",
        init_std: float = 0.02,
        eps: float = 1e-5,
    ) -> None:
        if len(in_channels) != 1:
            raise UserError(f"AttentiveHead takes the map of one pathway, not of {len(in_channels)}")
        (dim,) = in_channels
        super().__init__(dim, num_classes, dropout, activation, init_std)
        heads = heads or max(dim // 64, 1)
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.query_tokens, std=0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads, eps=eps) for _ in range(depth - 1)))
        self.cross_attention_block = CrossAttentionBlock(dim, heads, eps)
        for module in (self.blocks, self.cross_attention_block):
            initialize(module)

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> AttentiveHead:
        node = cfg.MODEL.HEAD
        return cls(
            in_channels=backbone.out_channels,
            num_classes=cfg.MODEL.NUM_CLASSES,
            depth=cfg.MODEL.ATTENTIVE_HEAD.DEPTH,
            heads=cfg.MODEL.ATTENTIVE_HEAD.HEADS,
            dropout=node.DROPOUT,
            activation=node.ACTIVATION,
            init_std=node.INIT_STD,
            eps=cfg.MODEL.ATTENTIVE_HEAD.EPS,
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map (B, C, T, H, W) -> logits (B, 1, K), as of :class:`ClassificationHead` at one position."""
        tokens = self.blocks(features[0].flatten(2).transpose(1, 2))
        query = self.query_tokens.to(tokens.dtype).expand(len(tokens), -1, -1)
        return self.classify(self.cross_attention_block(query, tokens))

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (B, 1, K) -> scores (B, K) in [0, 1], float32."""
        return self.activate(logits).mean(dim=1)
