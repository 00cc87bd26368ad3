"""Convert between torchvision's parameter names for 2D ResNets and ours.

``layer1.0.conv1.weight`` is ``backbone.res2.0.conv_a.weight``. ``load_weights`` inflates the 2D kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["from_image_resnet", "is_image_resnet", "to_image_resnet"]

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn)([123])\.(\w+)")
_SHORTCUT = re.compile(r"layer([1-4])\.(\d+)\.downsample\.([01])\.(\w+)")
_OUR_BLOCK = re.compile(r"backbone\.res([2-5])\.(\d+)\.(conv|norm)_([abc])\.(\w+)")
_OUR_SHORTCUT = re.compile(r"backbone\.res([2-5])\.(\d+)\.shortcut(_norm)?\.(\w+)")


def is_image_resnet(names: Iterable[str]) -> bool:
    """Whether these are parameter names of a torchvision 2D ResNet."""
    return {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= set(names)


def from_image_resnet(name: str) -> str | None:
    """Our name for torchvision's parameter ``name``; ``None`` if a ResNet has no such parameter."""
    if match := _BLOCK.fullmatch(name):
        stage, block, kind, number, rest = match.groups()
        layer = f"{'norm' if kind == 'bn' else 'conv'}_{'abc'[int(number) - 1]}"
        return f"backbone.res{int(stage) + 1}.{block}.{layer}.{rest}"
    if match := _SHORTCUT.fullmatch(name):
        stage, block, number, rest = match.groups()
        layer = "shortcut_norm" if number == "1" else "shortcut"
        return f"backbone.res{int(stage) + 1}.{block}.{layer}.{rest}"
    layer, _, rest = name.rpartition(".")
    place = {"conv1": "backbone.stem.conv", "bn1": "backbone.stem.norm", "fc": "head.projection"}.get(layer)
    return f"{place}.{rest}" if place else None


def to_image_resnet(name: str) -> str | None:
    """The inverse of :func:`from_image_resnet`; ``None`` if a 2D ResNet has no such parameter."""
    if match := _OUR_BLOCK.fullmatch(name):
        stage, block, kind, letter, rest = match.groups()
        layer = f"{'bn' if kind == 'norm' else 'conv'}{'abc'.index(letter) + 1}"
        return f"layer{int(stage) - 1}.{block}.{layer}.{rest}"
    if match := _OUR_SHORTCUT.fullmatch(name):
        stage, block, norm, rest = match.groups()
        return f"layer{int(stage) - 1}.{block}.downsample.{1 if norm else 0}.{rest}"
    layer, _, rest = name.rpartition(".")
    place = {"backbone.stem.conv": "conv1", "backbone.stem.norm": "bn1", "head.projection": "fc"}.get(layer)
    return f"{place}.{rest}" if place else None
