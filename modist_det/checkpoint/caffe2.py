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

from .name_table import NameTable

__all__ = ["from_caffe2", "is_caffe2", "is_training_blob", "to_caffe2", "with_statistics"]

_NAMES = NameTable(
    [
        ("{pathway}conv1_{conv}", "s1.pathway{pathway}_stem.conv.{conv}"),
        ("{pathway}res_conv1_bn_{norm}", "s1.pathway{pathway}_stem.bn.{norm}"),
        ("t_pool1_subsample_{conv}", "s1_fuse.conv_f2s.{conv}"),
        ("t_pool1_subsample_bn_{norm}", "s1_fuse.bn.{norm}"),
        (
            "{pathway}res{stage}_{block}_{branch}_{conv}",
            "s{stage}.pathway{pathway}_res{block}.{branch}.{conv}",
        ),
        (
            "{pathway}res{stage}_{block}_{branch}_bn_{norm}",
            "s{stage}.pathway{pathway}_res{block}.{branch}_bn.{norm}",
        ),
        ("t_res{stage}_{last}_branch2c_bn_subsample_{conv}", "s{stage}_fuse.conv_f2s.{conv}"),
        ("t_res{stage}_{last}_branch2c_bn_subsample_bn_{norm}", "s{stage}_fuse.bn.{norm}"),
        (
            "{pathway}nonlocal_conv{stage}_{block}_{nonlocal}_{conv}",
            "s{stage}.pathway{pathway}_nonlocal{block}.conv_{nonlocal}.{conv}",
        ),
        (
            "{pathway}nonlocal_conv{stage}_{block}_bn_{norm}",
            "s{stage}.pathway{pathway}_nonlocal{block}.bn.{norm}",
        ),
        ("{head}_{conv}", "head.projection.{conv}"),
    ],
    {
        "pathway": {"": "0", "t_": "1"},
        "stage": "[2-5]",
        "block": r"\d+",
        "branch": {"branch1": "branch1", **{f"branch2{letter}": f"branch2.{letter}" for letter in "abc"}},
        "nonlocal": "theta|phi|g|out",
        "conv": {"w": "weight", "b": "bias"},
        "norm": {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"},
        # Only blobs have these: the stage's last block, after which pathways are fused, and the classifier.
        "last": r"\d+",
        "head": "pred|fc1000",
    },
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
    return _NAMES.ours(name)


def to_caffe2(names: Iterable[str]) -> dict[str, str]:
    """PySlowFast name -> blob name. BN counters and layers of other networks have no blob and are left out."""
    names = list(names)
    last: dict[str, int] = {}
    for name in names:
        if block := re.match(r"s(\d)\.pathway1_res(\d+)\.", name):
            last[block[1]] = max(last.get(block[1], 0), int(block[2]))
    blobs = {name: _NAMES.theirs(name, last=str(last.get(name[1:2], 0)), head="pred") for name in names}
    return {name: blob for name, blob in blobs.items() if blob is not None}


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
