"""Names of the parameters of torchvision's video models and ours, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

__all__ = ["from_torchvision_video", "to_torchvision_video", "torchvision_family", "torchvision_model"]

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


def torchvision_model(tensors: Mapping[str, Tensor]) -> str:
    """The name in ``torchvision.models`` of the network with these parameters; ``""``: none."""
    family = torchvision_family(tensors)
    if family == "MC3 or R3D":
        kernel = tensors.get("layer2.0.conv1.0.weight")
        return "r3d_18" if kernel is not None and kernel.shape[2] > 1 else "mc3_18"
    if family == "MViT":
        return "mvit_v1_b" if "pos_encoding.spatial_pos" in tensors else "mvit_v2_s"
    if family == "Swin3D":
        last = tensors.get("features.4.17.norm1.weight")
        return "swin3d_t" if last is None else "swin3d_s" if len(last) == 384 else "swin3d_b"
    return {"R(2+1)D": "r2plus1d_18", "S3D": "s3d"}.get(family, "")


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
