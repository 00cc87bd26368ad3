"""Convert between the parameter names of PySlowFast's MViT and ours.

Below ``backbone.``, :class:`~modist_det.modeling.backbone.MViT` has PySlowFast's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..utils.errors import UserError

__all__ = ["from_mvit", "is_mvit", "keys_of_mvit"]

_POOL = re.compile(r"blocks\.\d+\.attn\.pool_[qkv]\.weight")


def is_mvit(names: Iterable[str]) -> bool:
    """Whether these are PySlowFast's names of an MViT: blocks that pool by convolutions."""
    return any(_POOL.fullmatch(name) for name in names)


def from_mvit(name: str) -> str:
    """Our name for MViT's parameter ``name``."""
    return name if name.startswith("head.") else f"backbone.{name}"


# Keys that are the same in PySlowFast's MVIT and our MODEL.MVIT.
_SHARED = """
    DEPTH EMBED_DIM NUM_HEADS DIM_MUL HEAD_MUL DIM_MUL_IN_ATT POOL_KVQ_KERNEL POOL_Q_STRIDE POOL_KV_STRIDE_ADAPTIVE
    RESIDUAL_POOLING REL_POS_SPATIAL REL_POS_TEMPORAL USE_ABS_POS SEP_POS_EMBED CLS_EMBED_ON USE_MEAN_POOLING
    PATCH_KERNEL PATCH_STRIDE PATCH_PADDING MLP_RATIO QKV_BIAS
"""


def keys_of_mvit(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Our keys (``MODEL.BACKBONE.NAME``, ``MODEL.MVIT. ...``) of the MViT that PySlowFast's ``config`` describes.

    Args:
        config: as :func:`~.reading.pyslowfast_config` gives it; older ones lack some keys, and so does the result.
        path: the file, for messages.

    Raises:
        UserError: the strides of keys and values are not those that follow from the first, or the config is damaged.
    """
    node, data = config.get("MVIT"), config.get("DATA", {})
    if node is None:
        return {}
    try:
        keys = {key: node[key] for key in _SHARED.split() if node.get(key) is not None}
        if "POOL_KV_STRIDE_ADAPTIVE" not in keys and "POOL_KV_STRIDE" in node:
            keys["POOL_KV_STRIDE_ADAPTIVE"] = _first_stride(node, path)
        if {"NUM_FRAMES", "TRAIN_CROP_SIZE"} <= data.keys():
            keys["INPUT_SIZE"] = [data["NUM_FRAMES"], data["TRAIN_CROP_SIZE"], data["TRAIN_CROP_SIZE"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the sections MVIT and DATA of its config are not PySlowFast's ({error!r})"
        ) from error
    return {"MODEL.BACKBONE.NAME": "MViT"} | {f"MODEL.MVIT.{key}": value for key, value in keys.items()}


def _first_stride(node: Mapping[str, Any], path: str) -> list[int]:
    """POOL_KV_STRIDE_ADAPTIVE of a config that lists the strides of all blocks instead."""
    given = {block: stride for block, *stride in node["POOL_KV_STRIDE"]}
    if not given:
        return []
    queries = {block: stride for block, *stride in node["POOL_Q_STRIDE"]}
    first = [kv * q for kv, q in zip(given.get(0, ()), queries.get(0, (1, 1, 1)), strict=False)]
    stride = first
    for block in range(node["DEPTH"]):
        stride = [max(kv // q, 1) for kv, q in zip(stride, queries.get(block, (1, 1, 1)), strict=False)]
        if stride != given.get(block):
            raise UserError(
                f"{path}: MVIT.POOL_KV_STRIDE of its config is {given.get(block)} in block {block}; MViT here has only "
                f"strides that follow from those of the first block and of the queries (there: {stride})"
            )
    return first
