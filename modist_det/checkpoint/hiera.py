"""Convert between the parameter names of Hiera's own code and ours.

Below ``backbone.``, :class:`~modist_det.modeling.backbone.Hiera` and
:class:`~modist_det.modeling.backbone.MaskedHiera` have Hiera's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["from_hiera", "is_hiera", "to_hiera"]

_WIDENING = re.compile(r"blocks\.\d+\.proj\.weight")


def is_hiera(names: Iterable[str]) -> bool:
    """Whether these are Hiera's: blocks that widen, but no pooling by convolutions, which MViT has."""
    names = list(names)
    return (
        "blocks.0.attn.qkv.weight" in names
        and any(name in names for name in ("pos_embed", "pos_embed_spatial"))
        and any(_WIDENING.fullmatch(name) for name in names)
        and not any(".attn.pool_" in name for name in names)
    )


def from_hiera(name: str) -> str:
    """Our name for Hiera's parameter ``name``."""
    return name if name.startswith("head.") else f"backbone.{name}"


def to_hiera(name: str) -> str | None:
    """The inverse of :func:`from_hiera`."""
    return name.removeprefix("backbone.")
