"""Convert between the parameter names of torchvision's video models and ours."""

from __future__ import annotations

from collections.abc import Iterable

from ..modeling.backbone.torchvision_video import torchvision_family, torchvision_model
from .name_table import NameTable

__all__ = ["from_torchvision_video", "to_torchvision_video", "torchvision_family", "torchvision_model"]

# Family -> its classifier; "fc" for the others.
_CLASSIFIER_OF = {"S3D": "classifier.1", "MViT": "head.1", "Swin3D": "head"}
_NAMES = NameTable(
    [("{classifier}.{rest}", "head.projection.{rest}"), ("{inner}", "backbone.network.{inner}")],
    {"classifier": "|".join(("fc", *_CLASSIFIER_OF.values())), "rest": "[^.]*", "inner": ".*"},
)


def from_torchvision_video(name: str) -> str | None:
    """Our name for the parameter ``name`` of such a network."""
    return _NAMES.ours(name)


def to_torchvision_video(names: Iterable[str]) -> dict[str, str]:
    """Our name -> theirs, the inverse of :func:`from_torchvision_video`, for the parameters that such a network has."""
    names = list(names)
    family = torchvision_family(name.removeprefix("backbone.network.") for name in names)
    classifier = _CLASSIFIER_OF.get(family, "fc")
    return {name: theirs for name in names if (theirs := _NAMES.theirs(name, classifier=classifier))}
