"""Convert between the parameter names of torchvision's video models and ours."""

from __future__ import annotations

from collections.abc import Iterable

from ..modeling.backbone.torchvision_video import torchvision_family, torchvision_model

__all__ = ["from_torchvision_video", "to_torchvision_video", "torchvision_family", "torchvision_model"]

# Family -> its classifier; "fc" for the others.
_CLASSIFIER_OF = {"S3D": "classifier.1", "MViT": "head.1", "Swin3D": "head"}
_CLASSIFIERS = ("fc", *_CLASSIFIER_OF.values())


def from_torchvision_video(name: str) -> str:
    """Our name for the parameter ``name`` of such a network."""
    layer, _, rest = name.rpartition(".")
    return f"head.projection.{rest}" if layer in _CLASSIFIERS else f"backbone.network.{name}"


def to_torchvision_video(names: Iterable[str]) -> dict[str, str]:
    """Our name -> theirs, the inverse of :func:`from_torchvision_video`, for the parameters that such a network has."""
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
