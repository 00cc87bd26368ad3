"""Convert between the parameter names of Hiera's own code and ours.

Below ``backbone.``, :class:`~modist_det.modeling.backbone.Hiera` has Hiera's names; the decoder of pretraining keeps
them, too (:class:`~modist_det.modeling.methods.HieraMAE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .weights import Weights

__all__ = ["from_hiera", "is_hiera"]

_WIDENING = re.compile(r"blocks\.\d+\.proj\.weight")
_DECODER = ("multi_scale_fusion_heads.", "decoder_", "mask_token")


def is_hiera(names: Iterable[str]) -> bool:
    """Whether these are Hiera's, if they are not MViT's (:func:`~.mvit.is_mvit`): blocks that widen."""
    names = list(names)
    return (
        "blocks.0.attn.qkv.weight" in names
        and any(name in names for name in ("pos_embed", "pos_embed_spatial"))
        and any(_WIDENING.fullmatch(name) for name in names)
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
