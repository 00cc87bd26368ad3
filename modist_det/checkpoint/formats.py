"""The checkpoint formats: how each names its parameters, in both directions.

A format is found from the names of a file's tensors (:func:`detect_format`); :func:`convert` gives them our names,
``backbone. ...`` and ``head. ...``, and :func:`names_in_format` gives our parameters the names of a format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..modeling.methods import backbone_prefixes
from ..utils.errors import UserError, nearest
from .caffe2 import from_caffe2, is_caffe2, is_training_blob, to_caffe2, with_statistics
from .image_resnet import from_image_resnet, is_image_resnet, to_image_resnet
from .pyslowfast import from_pyslowfast, has_two_pathways, to_pyslowfast
from .pytorchvideo import from_pytorchvideo, is_pytorchvideo, to_pytorchvideo
from .torchvision_video import from_torchvision_video, to_torchvision_video, torchvision_family

__all__ = ["FORMATS", "Weights", "convert", "detect_format", "names_in_format"]


@dataclass
class Weights:
    """Parameters and buffers under our names.

    Attributes:
        tensors: our name -> tensor.
        sources: our name -> name in the file.
        dropped: (name in the file, reason) of what is left out on purpose.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, source: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        self.sources[name] = source

    def drop(self, name: str, reason: str) -> None:
        del self.tensors[name]
        self.dropped.append((self.sources.pop(name), reason))


def detect_format(names: Iterable[str]) -> str:
    """Which of :data:`FORMATS` has parameters of these names."""
    names = list(names)
    if any(name.startswith("encoder_q.") for name in names):
        return "modist"
    if any(_PYSLOWFAST_STEM.match(name) for name in names):
        return "pyslowfast"
    if is_caffe2(names):
        return "caffe2"
    if is_pytorchvideo(names):
        return "pytorchvideo"
    if is_image_resnet(names):
        return "torchvision"
    if torchvision_family(names):
        return "torchvision_video"
    return "modist_det"


def convert(state_dict: Mapping[str, Tensor], format: str) -> Weights:
    """The tensors of a file under our names.

    Raises:
        UserError: ``format`` is none of :data:`FORMATS`.
    """
    if format not in FORMATS:
        raise UserError(
            f"there is no checkpoint format {format!r}{nearest(format, FORMATS)} (known: auto, {', '.join(FORMATS)})"
        )
    return FORMATS[format](state_dict)


def names_in_format(
    names: Iterable[str], format: str, *, pool_after_res2: bool = False, detection: bool = False
) -> dict[str, str]:
    """Our names (``backbone. ...``, ``head. ...``) -> those of ``format``, for what the format has.

    Args:
        pool_after_res2, detection: of the network; see :func:`~modist_det.checkpoint.pytorchvideo.to_pytorchvideo`.

    Raises:
        UserError: an unknown format.
    """
    names = list(names)
    if format == "modist_det":
        return {name: name for name in names}
    if format == "torchvision_video":
        return to_torchvision_video(names)
    if format == "pytorchvideo":
        return to_pytorchvideo(names, pool_after_res2, detection)
    one_by_one: dict[str, Callable[[str], str | None]] = {
        "pyslowfast": to_pyslowfast,
        "modist": lambda name: f"encoder_q.{theirs}" if (theirs := to_pyslowfast(name)) else None,
        "torchvision": to_image_resnet,
    }
    if format == "caffe2":
        middle = {name: theirs for name in names if (theirs := to_pyslowfast(name))}
        blobs = to_caffe2(middle.values())
        return {name: blobs[theirs] for name, theirs in middle.items() if theirs in blobs}
    if format not in one_by_one:
        raise UserError(f"there is no checkpoint format {format!r}{nearest(format, FORMATS)}")
    return {name: theirs for name in names if (theirs := one_by_one[format](name))}


def _from_native(state_dict: Mapping[str, Tensor]) -> Weights:
    """Our own names, of a whole model, of a backbone alone, or of a pretraining method."""
    for prefix in backbone_prefixes():
        if any(name.startswith(prefix) for name in state_dict):
            return _from_pretraining(state_dict, prefix)
    whole = any(name.startswith(("backbone.", "head.")) for name in state_dict)
    weights = Weights()
    for name, tensor in state_dict.items():
        weights.add(name if whole else f"backbone.{name}", name, tensor)
    return weights


def _from_pretraining(state_dict: Mapping[str, Tensor], prefix: str) -> Weights:
    """The visual backbone, whose names begin with ``prefix``; everything else served pretraining."""
    weights = Weights()
    for source, tensor in state_dict.items():
        if source.startswith(prefix):
            weights.add(f"backbone.{source.removeprefix(prefix)}", source, tensor)
        else:
            weights.dropped.append((source, "pretraining only"))
    return weights


# The model's name in front of its parameters: none, or that of PySlowFast's contrastive models.
_PYSLOWFAST_STEM = re.compile(r"(?:backbone\.)?s1\.pathway0_stem\.")
_STAGE = re.compile(r"s[1-5](?:\.|_fuse)")
# PySlowFast's split batch norm keeps the statistics of each split beside their aggregate.
_SPLIT_STATISTICS = re.compile(r"bn\.split_bn\.")
_AGGREGATED_STATISTICS = re.compile(r"bn\.bn\.(?=running_|num_batches_tracked)")


def _from_pyslowfast(state_dict: Mapping[str, Tensor]) -> Weights:
    contrastive = any(name.startswith("backbone.s1.") for name in state_dict)
    return _from_prefixed(state_dict, "backbone." if contrastive else "", "no part of the trained encoder")


def _from_modist(state_dict: Mapping[str, Tensor]) -> Weights:
    return _from_prefixed(state_dict, "encoder_q.", "pretraining only")


def _from_prefixed(state_dict: Mapping[str, Tensor], prefix: str, reason: str) -> Weights:
    """PySlowFast names that follow ``prefix``; the rest is dropped for ``reason``."""
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
            # A layer of a stage is part of the backbone, even where it is one that we do not know.
            weights.add(f"backbone.{name}" if _STAGE.match(name) else name, source, tensor)
    return weights


def _from_caffe2(state_dict: Mapping[str, Tensor]) -> Weights:
    """By way of PySlowFast's names; the report shall show the blobs'."""
    blobs, tensors, dropped = {}, {}, []
    for blob, tensor in state_dict.items():
        if is_training_blob(blob):
            dropped.append((blob, "training only"))
            continue
        name = from_caffe2(blob) or blob
        blobs[name] = blob
        # Caffe2 may store a linear layer as a convolution of size 1.
        tensors[name] = tensor.flatten(1) if name == "head.projection.weight" else tensor
    weights = _from_pyslowfast(with_statistics(tensors))
    weights.sources = {ours: blobs.get(name, f"{name} (folded)") for ours, name in weights.sources.items()}
    weights.dropped = [(blobs.get(name, name), reason) for name, reason in weights.dropped] + dropped
    return weights


def _from_pytorchvideo(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = Weights()
    ours = from_pytorchvideo(state_dict)
    for source, tensor in state_dict.items():
        weights.add(ours.get(source, f"backbone.{source}"), source, tensor)
    return weights


def _from_image_resnet(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = Weights()
    for source, tensor in state_dict.items():
        weights.add(from_image_resnet(source) or f"backbone.{source}", source, tensor)
    return weights


def _from_torchvision_video(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = Weights()
    for source, tensor in state_dict.items():
        name = from_torchvision_video(source)
        # S3D's classifier is a convolution of size 1.
        weights.add(name, source, tensor.flatten(1) if name == "head.projection.weight" else tensor)
    return weights


FORMATS: dict[str, Callable[[Mapping[str, Tensor]], Weights]] = {
    "modist_det": _from_native,
    "pyslowfast": _from_pyslowfast,
    "modist": _from_modist,
    "caffe2": _from_caffe2,
    "pytorchvideo": _from_pytorchvideo,
    "torchvision": _from_image_resnet,
    "torchvision_video": _from_torchvision_video,
}
