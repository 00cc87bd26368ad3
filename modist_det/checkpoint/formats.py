"""The checkpoint formats that :func:`~modist_det.checkpoint.load_weights` reads.

A file is read without running any code from it, its container is opened (``model_state``, ``model`` or
``state_dict`` of a dict, or the dict itself), its format is found from the parameters' names, and the
parameters get our names: ``backbone. ...`` and ``head. ...``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..utils.errors import UserError, nearest
from .pyslowfast import from_pyslowfast, has_two_pathways
from .torchvision_video import from_torchvision_video, torchvision_family

__all__ = ["FORMATS", "Weights", "convert", "detect_format", "read_state_dict"]

# "ema": of our own runs that average their weights, the ones that they evaluate.
_CONTAINERS = ("ema", "model_state", "model", "state_dict")
# Of our pretraining checkpoints, what detection and classification start from.
_PRETRAINED = "query.visual.backbone."


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


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint file, on the CPU, under the names that the file gives them.

    Wrappers' prefixes (``module.`` of DistributedDataParallel, ``_orig_mod.`` of ``torch.compile``) are
    taken off.

    Raises:
        UserError: the path is a URL, missing or a folder; the file is no checkpoint, is damaged, would
            have to run code to be read, or holds no tensors.
    """
    text = os.fspath(path)
    if re.match(r"[a-z0-9]+://", text, re.IGNORECASE):
        raise UserError(f"weights are read from local files: download {text} and give the path of the file")
    if not Path(text).is_file():
        raise UserError(
            f"weights file {text} does not exist" if not Path(text).exists() else f"{text} is a folder"
        )
    try:
        content = torch.load(text, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged bytes make the unpickler say
        raise UserError(_why_unreadable(text, error)) from error
    if not isinstance(content, Mapping):
        raise UserError(f"weights file {text} holds {type(content).__name__}, not a dict of tensors")
    for container in _CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content = content[container]
            break
    tensors = {_unwrapped(str(name)): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(
            f"weights file {text} holds no model: no tensors, neither in the dict itself nor under "
            f"{', '.join(_CONTAINERS)} (its keys: {', '.join(map(str, list(content)[:5])) or 'none'})"
        )
    return tensors


def detect_format(names: Iterable[str]) -> str:
    """Which of :data:`FORMATS` has parameters of these names."""
    names = list(names)
    if any(name.startswith("encoder_q.") for name in names):
        return "modist"
    if any(_PYSLOWFAST_STEM.match(name) for name in names):
        return "pyslowfast"
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


def _from_native(state_dict: Mapping[str, Tensor]) -> Weights:
    """Our own names, of a whole model, of a backbone alone, or of a pretraining model."""
    if any(name.startswith(_PRETRAINED) for name in state_dict):
        return _from_pretraining(state_dict)
    whole = any(name.startswith(("backbone.", "head.")) for name in state_dict)
    weights = Weights()
    for name, tensor in state_dict.items():
        weights.add(name if whole else f"backbone.{name}", name, tensor)
    return weights


def _from_pretraining(state_dict: Mapping[str, Tensor]) -> Weights:
    """The visual query encoder's backbone; everything else served pretraining."""
    weights = Weights()
    for source, tensor in state_dict.items():
        if source.startswith(_PRETRAINED):
            weights.add(f"backbone.{source.removeprefix(_PRETRAINED)}", source, tensor)
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
    "torchvision_video": _from_torchvision_video,
}


def _unwrapped(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _why_unreadable(path: str, error: Exception) -> str:
    # torch names the first thing in the file that is neither a tensor nor a plain value.
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"weights file {path} is refused: to read it, code would have to run (it holds {match[1]}). Only "
            "tensors and plain values are read; save the model's state_dict alone and load that"
        )
    if kind := _what_else(Path(path)):
        return f"weights file {path} is {kind}, not a PyTorch checkpoint; download or copy the file itself"
    # Of torch's advice only the reason: to unpickle whatever the file holds is no way out.
    match = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search(
        r"([^\n]+?)(\. |\n|$)", str(error)
    )
    reason = match[1].strip() if match else type(error).__name__
    return f"weights file {path} is damaged or no PyTorch checkpoint ({reason})"


def _what_else(path: Path) -> str:
    """What a file without a single tensor is, by its first bytes; ``""`` if these do not say."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head.strip(b"\0"):
        return "all zero bytes" if head else "empty"
    if not all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return ""
    text = head.lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS"
    return "a web page" if text.startswith((b"<!doctype html", b"<html")) else "a text file"
