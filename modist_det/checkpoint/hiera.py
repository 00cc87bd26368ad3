"""Convert between the parameter names of Hiera's own code and ours.

Below ``backbone.``, :class:`~modist_det.modeling.backbone.Hiera` has Hiera's names; the decoder of pretraining keeps
them, too (:class:`~modist_det.modeling.methods.HieraMAE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .weights import Weights

__all__ = ["from_hiera", "is_hiera", "to_hiera"]

_WIDENING = re.compile(r"blocks\.\d+\.proj\.weight")
_DECODER = ("multi_scale_fusion_heads.", "decoder_", "mask_token")


def is_hiera(names: Iterable[str]) -> bool:
    """Whether these are Hiera's: blocks that widen, but no pooling by convolutions, which MViT has."""
    names = list(names)
    return (
        "blocks.0.attn.qkv.weight" in names
        and any(name in names for name in ("pos_embed", "pos_embed_spatial"))
        and any(_WIDENING.fullmatch(name) for name in names)
        and not any(".attn.pool_" in name for name in names)
    )


def from_hiera(state_dict: Mapping[str, Tensor]) -> Weights:
    """A file's tensors under our names."""
    weights = Weights()
    for source, tensor in state_dict.items():
        if source.startswith(_DECODER):
            weights.optional[source] = "pretraining only"
        ours = source.startswith(("head.", *_DECODER))
        weights.add(source if ours else f"backbone.{source.removeprefix('encoder_')}", source, tensor)
    return weights


def to_hiera(name: str) -> str | None:
    """Hiera's name for our ``name``."""
    return name.removeprefix("backbone.")
