"""Weights of torchvision's video models: names of their parameters and their published files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torchvision.models import get_model_weights, list_models, video

from ..utils.errors import UserError, nearest

__all__ = [
    "SCHEME",
    "from_torchvision_video",
    "to_torchvision_video",
    "torchvision_family",
    "torchvision_file",
]

# torchvision://NAME/WEIGHTS, such as torchvision://r2plus1d_18/KINETICS400_V1.
SCHEME = "torchvision://"

# A parameter that only one family has.
_FAMILIES = {
    "stem.3.weight": "R(2+1)D",
    "layer1.0.conv1.0.weight": "MC3 or R3D",
    "features.0.0.0.weight": "S3D",
    "pos_encoding.class_token": "MViT",
    "features.0.0.attn.relative_position_bias_table": "Swin3D",
}
# Family -> its classifier; the others' is "fc".
_CLASSIFIER_OF = {"S3D": "classifier.1", "MViT": "head.1", "Swin3D": "head"}
_CLASSIFIERS = ("fc", "classifier.1", "head.1", "head")


def torchvision_family(names: Iterable[str]) -> str:
    """Which of torchvision's video networks has parameters of these names; ``""``: none."""
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "")


def from_torchvision_video(name: str) -> str:
    """Our name of the parameter ``name`` of such a network."""
    layer, _, rest = name.rpartition(".")
    return f"head.projection.{rest}" if layer in _CLASSIFIERS else f"backbone.network.{name}"


def to_torchvision_video(names: Iterable[str]) -> dict[str, str]:
    """Our names -> theirs, the inverse of :func:`from_torchvision_video`, for what such a network has."""
    names = list(names)
    family = torchvision_family(name.removeprefix("backbone.network.") for name in names)
    classifier = _CLASSIFIER_OF.get(family, "fc")
    theirs = {}
    for name in names:
        layer, _, rest = name.rpartition(".")
        if layer == "head.projection":
            theirs[name] = f"{classifier}.{rest}"
        elif name.startswith("backbone.network."):
            theirs[name] = name.removeprefix("backbone.network.")
    return theirs


def torchvision_file(url: str) -> Path:
    """The file of ``torchvision://NAME/WEIGHTS`` (WEIGHTS may be left out: torchvision's default), downloaded into
    the cache of ``torch.hub`` unless it is there.

    Raises:
        UserError: torchvision has no such weights, or they cannot be downloaded or are damaged.
    """
    name, _, version = url.removeprefix(SCHEME).partition("/")
    try:
        published = get_model_weights(name)
    except ValueError as error:
        known = list_models(module=video)
        raise UserError(
            f"{url}: torchvision has no model {name!r}{nearest(name, known)} (video models: {', '.join(known)})"
        ) from error
    if version and version not in published.__members__:
        raise UserError(f"{url}: torchvision's weights of {name} are {', '.join(published.__members__)}")
    return _cached(published[version or "DEFAULT"].url)


def _cached(url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    # The file's name ends in the first digits of its sha256.
    digits = re.search(r"-([0-9a-f]{8,})\.\w+$", url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digits[1] if digits else None)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot download {url} ({reason}); put the file into {path.parent}, or set MODEL.WEIGHTS to where it is"
        ) from error
    return path
