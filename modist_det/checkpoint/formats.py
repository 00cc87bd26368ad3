"""Checkpoint formats: conversion between our parameter names and those of other code bases.

:func:`detect_format` recognizes a format by its tensor names. :func:`convert` renames a file's tensors to our names
(``backbone. ...``, ``head. ...``), and :func:`names_in_format` does the opposite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from ..modeling.methods import backbone_prefixes
from ..utils.errors import UserError, nearest
from .caffe2 import from_caffe2, is_caffe2, is_training_blob, to_caffe2, with_statistics
from .context_heads import context_head_format, from_acar, from_feature_bank
from .hiera import from_hiera, is_hiera
from .image_resnet import from_image_resnet, is_image_resnet, to_image_resnet
from .mvit import from_mvit, is_mvit
from .pyslowfast import from_pyslowfast, has_two_pathways, to_pyslowfast
from .pytorchvideo import from_pytorchvideo, is_pytorchvideo, to_pytorchvideo
from .torchvision_video import from_torchvision_video, to_torchvision_video, torchvision_family
from .video_vit import VIT_FORMATS, to_hf_videomae, to_mmaction2, to_videomae, vit_format
from .weights import Weights

__all__ = ["FORMATS", "Weights", "convert", "detect_format", "names_in_format"]


def detect_format(names: Iterable[str]) -> str:
    """The one of :data:`FORMATS` that uses these parameter names."""
    names = list(names)
    if any(name.startswith("encoder_q.") for name in names):
        return "modist"
    if any(_PYSLOWFAST_STEM.match(name) for name in names):
        return "pyslowfast"
    if vit := vit_format(names):
        return vit
    if is_caffe2(names):
        return "caffe2"
    if is_pytorchvideo(names):
        return "pytorchvideo"
    if is_image_resnet(names):
        return "torchvision"
    if torchvision_family(names):
        return "torchvision_video"
    if context_head := context_head_format(names):
        return context_head
    if is_mvit(names):
        return "pyslowfast_mvit"
    if is_hiera(names):
        return "hiera"
    return "modist_det"


def convert(state_dict: Mapping[str, Tensor], format: str) -> Weights:
    """A file's tensors under our names.

    Raises:
        UserError: ``format`` is not one of :data:`FORMATS`.
    """
    if format not in FORMATS:
        raise UserError(
            f"there is no checkpoint format {format!r}{nearest(format, FORMATS)} (known: auto, {', '.join(FORMATS)})"
        )
    return FORMATS[format](state_dict)


def names_in_format(
    names: Iterable[str], format: str, *, pool_after_res2: bool = False, detection: bool = False
) -> dict[str, str]:
    """Our name (``backbone. ...``, ``head. ...``) -> name in ``format``, for the parameters that the format has.

    Args:
        pool_after_res2, detection: see :func:`~modist_det.checkpoint.pytorchvideo.to_pytorchvideo`.

    Raises:
        UserError: an unknown format.
    """
    names = list(names)
    if format == "torchvision_video":
        return to_torchvision_video(names)
    if format in ("videomae", "hf_videomae"):
        return to_videomae(names) if format == "videomae" else to_hf_videomae(names)
    if format == "mmaction2_vit":
        return to_mmaction2(names, detection)
    if format == "pytorchvideo":
        return to_pytorchvideo(names, pool_after_res2, detection)
    one_by_one: dict[str, Callable[[str], str | None]] = {
        "modist_det": str,
        **dict.fromkeys(("pyslowfast", "modist", "caffe2"), to_pyslowfast),
        "torchvision": to_image_resnet,
        # Our backbones have their names; of mae_st and vjepa, those of the encoders of pretraining files.
        **dict.fromkeys(
            ("hiera", "pyslowfast_mvit", "mae_st", "vjepa"), lambda name: name.removeprefix("backbone.")
        ),
    }
    if format not in one_by_one:
        raise UserError(f"there is no checkpoint format {format!r}{nearest(format, FORMATS)}")
    found = {name: theirs for name in names if (theirs := one_by_one[format](name))}
    if format == "modist":
        return {name: f"encoder_q.{theirs}" for name, theirs in found.items()}
    if format == "caffe2":
        blobs = to_caffe2(found.values())
        return {name: blobs[theirs] for name, theirs in found.items() if theirs in blobs}
    return found


def _from_native(state_dict: Mapping[str, Tensor]) -> Weights:
    """Our own names: of a whole model, of a backbone, or of a pretraining method (only its visual backbone is used)."""
    for prefix in backbone_prefixes():
        ours = {
            name: f"backbone.{name.removeprefix(prefix)}" for name in state_dict if name.startswith(prefix)
        }
        if ours:
            weights = _renamed({name: state_dict[name] for name in ours}, ours.get)
            weights.dropped = [(name, "pretraining only") for name in state_dict if name not in ours]
            return weights
    whole = any(name.startswith(("backbone.", "head.")) for name in state_dict)
    return _renamed(state_dict, lambda name: name if whole else None)


def _renamed(state_dict: Mapping[str, Tensor], to_ours: Callable[[str], str | None]) -> Weights:
    """Each tensor under our name. Names that ``to_ours`` does not know are taken for parts of the backbone."""
    weights = Weights()
    for source, tensor in state_dict.items():
        weights.add(to_ours(source) or f"backbone.{source}", source, tensor)
    return weights


def _with_linear_classifier(weights: Weights) -> Weights:
    """Some classifiers are convolutions of size 1: S3D's, and Caffe2's linear layers."""
    name = "head.projection.weight"
    if name in weights.tensors and weights.tensors[name].dim() > 2:
        weights.tensors[name] = weights.tensors[name].flatten(1)
    return weights


# PySlowFast's contrastive models have "backbone." in front of their names.
_PYSLOWFAST_STEM = re.compile(r"(?:backbone\.)?s1\.pathway0_stem\.")
_STAGE = re.compile(r"s[1-5](?:\.|_fuse)")
# PySlowFast's split batch norm stores the statistics of each split besides their aggregate.
_SPLIT_STATISTICS = re.compile(r"bn\.split_bn\.")
_AGGREGATED_STATISTICS = re.compile(r"bn\.bn\.(?=running_|num_batches_tracked)")


def _from_pyslowfast(state_dict: Mapping[str, Tensor]) -> Weights:
    contrastive = any(name.startswith("backbone.s1.") for name in state_dict)
    return _from_prefixed(state_dict, "backbone." if contrastive else "", "not part of the trained encoder")


def _from_modist(state_dict: Mapping[str, Tensor]) -> Weights:
    return _from_prefixed(state_dict, "encoder_q.", "pretraining only")


def _from_prefixed(state_dict: Mapping[str, Tensor], prefix: str, reason: str) -> Weights:
    """Tensors with PySlowFast names after ``prefix``; all others are dropped with ``reason``."""
    weights = Weights()
    two_pathways = has_two_pathways(name.removeprefix(prefix) for name in state_dict)
    for source, tensor in state_dict.items():
        if not source.startswith(prefix):
            weights.dropped.append((source, reason))
            continue
        name = source.removeprefix(prefix)
        if _SPLIT_STATISTICS.search(name):
            weights.dropped.append((source, "statistics of one split of the batch"))
            continue
        name = _AGGREGATED_STATISTICS.sub("bn.", name)
        ours = from_pyslowfast(name, two_pathways)
        if ours is not None:
            weights.add(ours, source, tensor)
        elif "pathway1_" in name:
            weights.dropped.append((source, "motion pathway"))
        else:
            # An unknown layer of a stage is still a part of the backbone.
            weights.add(f"backbone.{name}" if _STAGE.match(name) else name, source, tensor)
    return weights


def _from_caffe2(state_dict: Mapping[str, Tensor]) -> Weights:
    """Converted by way of PySlowFast's names; the report lists the original blob names."""
    blobs, tensors, dropped = {}, {}, []
    for blob, tensor in state_dict.items():
        if is_training_blob(blob):
            dropped.append((blob, "training only"))
            continue
        name = from_caffe2(blob) or blob
        blobs[name] = blob
        tensors[name] = tensor
    weights = _from_pyslowfast(with_statistics(tensors))
    weights.sources = {ours: blobs.get(name, f"{name} (folded)") for ours, name in weights.sources.items()}
    weights.dropped = [(blobs.get(name, name), reason) for name, reason in weights.dropped] + dropped
    return _with_linear_classifier(weights)


FORMATS: dict[str, Callable[[Mapping[str, Tensor]], Weights]] = {
    "modist_det": _from_native,
    "pyslowfast": _from_pyslowfast,
    "modist": _from_modist,
    "caffe2": _from_caffe2,
    "pytorchvideo": lambda state_dict: _renamed(state_dict, from_pytorchvideo(state_dict).get),
    "torchvision": lambda state_dict: _renamed(state_dict, from_image_resnet),
    "torchvision_video": lambda state_dict: _with_linear_classifier(
        _renamed(state_dict, from_torchvision_video)
    ),
    "hiera": from_hiera,
    "acar": from_acar,
    "mmaction2_lfb": from_feature_bank,
    "pyslowfast_mvit": lambda state_dict: _renamed(state_dict, from_mvit),
    **VIT_FORMATS,
}
