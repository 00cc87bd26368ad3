"""Convert between the parameter names of PySlowFast's MViT and ours.

Below ``backbone.``, :class:`~modist_det.modeling.backbone.MViT` has PySlowFast's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["from_mvit", "is_mvit"]

_POOL = re.compile(r"blocks\.\d+\.attn\.pool_[qkv]\.weight")


def is_mvit(names: Iterable[str]) -> bool:
    """Whether these are PySlowFast's names of an MViT: blocks that pool by convolutions."""
    return any(_POOL.fullmatch(name) for name in names)


def from_mvit(name: str) -> str:
    """Our name for MViT's parameter ``name``."""
    return name if name.startswith("head.") else f"backbone.{name}"
