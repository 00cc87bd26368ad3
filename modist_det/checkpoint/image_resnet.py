"""Convert between torchvision's parameter names for 2D ResNets and ours.

``layer1.0.conv1.weight`` is ``backbone.res2.0.conv_a.weight``. ``load_weights`` inflates the 2D kernels.
"""

from __future__ import annotations

from collections.abc import Iterable

from .name_table import NameTable

__all__ = ["from_image_resnet", "is_image_resnet", "to_image_resnet"]

_NAMES = NameTable(
    [
        ("layer{stage}.{block}.{layer}.{rest}", "backbone.res{stage}.{block}.{layer}.{rest}"),
        ("{place}.{rest}", "{place}.{rest}"),
    ],
    {
        "stage": {"1": "2", "2": "3", "3": "4", "4": "5"},
        "block": r"\d+",
        "layer": {
            **{f"conv{number}": f"conv_{letter}" for number, letter in enumerate("abc", 1)},
            **{f"bn{number}": f"norm_{letter}" for number, letter in enumerate("abc", 1)},
            "downsample.0": "shortcut",
            "downsample.1": "shortcut_norm",
        },
        "place": {"conv1": "backbone.stem.conv", "bn1": "backbone.stem.norm", "fc": "head.projection"},
        "rest": r"\w+",
    },
)


def is_image_resnet(names: Iterable[str]) -> bool:
    """Whether these are parameter names of a torchvision 2D ResNet."""
    return {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= set(names)


def from_image_resnet(name: str) -> str | None:
    """Our name for torchvision's parameter ``name``; ``None`` if a ResNet has no such parameter."""
    return _NAMES.ours(name)


def to_image_resnet(name: str) -> str | None:
    """The inverse of :func:`from_image_resnet`; ``None`` if a 2D ResNet has no such parameter."""
    return _NAMES.theirs(name)
