"""Convert the names of heads with context: ACAR-Net's, and mmaction2's feature bank operator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .weights import Weights

__all__ = ["context_head_format", "from_acar", "from_feature_bank"]

_OPERATOR = "roi_head.shared_head.fbo."


def context_head_format(names: Iterable[str]) -> str:
    """ "acar" or "mmaction2_lfb", or "" for other names."""
    names = list(names)
    if any(name.startswith(_OPERATOR) for name in names):
        return "mmaction2_lfb"
    return (
        "acar" if any(name.startswith("head.hr2o.") for name in names) and "head.fc2.weight" in names else ""
    )


def from_acar(state_dict: Mapping[str, Tensor]) -> Weights:
    """The tensors under our names; files of the head alone leave the backbone as it is."""
    weights = Weights()
    for source, tensor in state_dict.items():
        weights.add(re.sub(r"^head\.fc2\.", "head.projection.", source), source, tensor)
    weights.head_only = all(source.startswith("head.") for source in state_dict)
    return weights


def from_feature_bank(state_dict: Mapping[str, Tensor]) -> Weights:
    """Its convolutions of size 1 are linear layers here. Only the operator and the classifier are converted."""
    weights = Weights()
    for source, tensor in state_dict.items():
        if source.startswith(_OPERATOR):
            name = source.removeprefix(_OPERATOR).replace("_conv.conv.", "_conv.")
            name = re.sub(r"^non_local_layer_(\d+)\.", lambda match: f"layers.{int(match[1]) - 1}.", name)
            is_kernel = name.endswith("_conv.weight") and tensor.dim() > 1
            weights.add(f"head.fbo.{name}", source, tensor.flatten(1 if is_kernel else 0))
        else:
            weights.add(source.replace("roi_head.bbox_head.fc_cls.", "head.projection."), source, tensor)
    # Class 0 of its AVA detectors is the background.
    weights.background = True
    weights.head_only = all(source.startswith("roi_head.") for source in state_dict)
    return weights
