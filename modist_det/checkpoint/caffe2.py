"""Convert between Caffe2's blob names and PySlowFast's parameter names.

Caffe2 numbers blocks as PySlowFast does. Names of the fast pathway start with ``t_``. Weights and biases end in ``_w``
and ``_b``, BN parameters in ``_bn_s``, ``_bn_b``, ``_bn_rm`` and ``_bn_riv``. For example, ``res4_2_branch2a_bn_rm`` is
``s4.pathway0_res2.branch2.a_bn.running_mean`` in PySlowFast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["from_caffe2", "is_caffe2", "is_training_blob", "to_caffe2", "with_statistics"]

_ENDINGS = {
    "_bn_s": "_bn.weight",
    "_bn_b": "_bn.bias",
    "_bn_rm": "_bn.running_mean",
    "_bn_riv": "_bn.running_var",
    "_w": ".weight",
    "_b": ".bias",
}
_BLOB = re.compile(
    r"(?P<fast>t_)?(?:"
    r"(?P<stem>conv1|res_conv1(?=_bn))"
    r"|pool1_(?P<fuse_stem>subsample)"
    r"|res(?P<stage>[2-5])_(?P<block>\d+)_branch(?:(?P<one>1)|2(?P<layer>[abc]))"
    r"(?P<fuse>_bn_subsample)?"
    r"|nonlocal_conv(?P<nl_stage>[2-5])_(?P<nl_block>\d+)(?:_(?P<nl_layer>theta|phi|g|out))?"
    r"|(?P<head>pred|fc1000)"
    r")(?P<ending>_bn_s|_bn_b|_bn_rm|_bn_riv|_w|_b)"
)
_TRAINING = re.compile(r".*_momentum|lr|model_iter|weight_order")


def is_caffe2(names: Iterable[str]) -> bool:
    """Whether these are blob names of a Caffe2 ResNet."""
    return {"conv1_w", "res_conv1_bn_s"} <= set(names)


def is_training_blob(name: str) -> bool:
    """Whether the blob belongs to the solver."""
    return _TRAINING.fullmatch(name) is not None


def from_caffe2(name: str) -> str | None:
    """PySlowFast's name for the blob ``name``; ``None`` if it is not part of these networks."""
    match = _BLOB.fullmatch(name)
    if match is None:
        return None
    ending = _ENDINGS[match["ending"]]
    norm = ending.startswith("_bn")
    pathway = 1 if match["fast"] else 0
    if match["stem"]:
        # The biases of the convolution and of the norm differ only in the leading "res_".
        return f"s1.pathway{pathway}_stem.{'bn' if norm else 'conv'}.{ending.split('.')[1]}"
    if match["fuse_stem"] or match["fuse"]:
        layer = "bn" if norm else "conv_f2s"
        return f"s{match['stage'] or 1}_fuse.{layer}.{ending.split('.')[1]}"
    if match["nl_stage"]:
        layer = "bn" if norm else f"conv_{match['nl_layer']}"
        return f"s{match['nl_stage']}.pathway{pathway}_nonlocal{match['nl_block']}.{layer}.{ending.split('.')[1]}"
    if match["head"]:
        return f"head.projection{ending}"
    branch = "branch1" if match["one"] else f"branch2.{match['layer']}"
    return f"s{match['stage']}.pathway{pathway}_res{match['block']}.{branch}{ending}"


def to_caffe2(names: Iterable[str]) -> dict[str, str]:
    """PySlowFast name -> blob name. BN counters and layers of other networks have no blob and are left out."""
    names = list(names)
    blobs = {}
    for name in names:
        layer, _, kind = name.rpartition(".")
        if layer.endswith("bn"):
            ending = {"weight": "_s", "bias": "_b", "running_mean": "_rm", "running_var": "_riv"}.get(kind)
        else:
            ending = {"weight": "_w", "bias": "_b"}.get(kind)
        blob = _layer_to_caffe2(layer, names)
        if ending is not None and blob is not None:
            blobs[name] = blob + ending
    return blobs


def _layer_to_caffe2(layer: str, names: list[str]) -> str | None:
    if layer == "head.projection":
        return "pred"
    if match := re.fullmatch(r"s1\.pathway([01])_stem\.(conv|bn)", layer):
        return f"{'t_' * int(match[1])}{'res_conv1_bn' if match[2] == 'bn' else 'conv1'}"
    if match := re.fullmatch(r"s([1-4])_fuse\.(conv_f2s|bn)", layer):
        norm = "_bn" if match[2] == "bn" else ""
        if match[1] == "1":
            return f"t_pool1_subsample{norm}"
        blocks = [re.match(rf"s{match[1]}\.pathway1_res(\d+)\.", name) for name in names]
        last = max(int(block[1]) for block in blocks if block)
        return f"t_res{match[1]}_{last}_branch2c_bn_subsample{norm}"
    if match := re.fullmatch(
        r"s([2-5])\.pathway([01])_nonlocal(\d+)\.(?:conv_(theta|phi|g|out)|(bn))", layer
    ):
        return f"{'t_' * int(match[2])}nonlocal_conv{match[1]}_{match[3]}_{match[4] or match[5]}"
    if match := re.fullmatch(r"s([2-5])\.pathway([01])_res(\d+)\.branch(1|2\.[abc])(_bn)?", layer):
        branch = match[4].replace(".", "")
        return f"{'t_' * int(match[2])}res{match[1]}_{match[3]}_branch{branch}{match[5] or ''}"
    return None


def with_statistics(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` (PySlowFast names) with BN statistics of 0 and 1 added where a layer has none.

    Caffe2's image networks have the statistics folded into scale and shift.
    """
    completed = dict(tensors)
    for name, scale in tensors.items():
        layer = name.removesuffix(".weight")
        if layer != name and layer.endswith("bn") and f"{layer}.running_mean" not in tensors:
            completed[f"{layer}.running_mean"] = torch.zeros_like(scale)
            # BN divides by the square root of this plus 1e-5.
            completed[f"{layer}.running_var"] = torch.full_like(scale, 1 - 1e-5)
    return completed
