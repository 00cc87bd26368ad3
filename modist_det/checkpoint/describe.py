"""What network a state dict belongs to, as far as shapes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..modeling.backbone import description_of, keys_of
from .configs import configs_with

__all__ = ["describe_backbone", "fitting_config", "fitting_keys"]


def describe_backbone(tensors: Mapping[str, Tensor]) -> str:
    """One line for the backbone with these parameters (names ``backbone. ...``).

    Example: ``ResNet3D, depth 50, width 64, 3 input channels, stem kernel 1x7x7, temporal kernels
    1/1/3/3``. Strides, dilation and SlowFast's alpha leave no trace in the shapes.
    """
    return description_of(_of_backbone(tensors)) or "a network that no backbone here knows as its own"


def fitting_config(tensors: Mapping[str, Tensor], known: Mapping[str, Any]) -> str:
    """A sentence that says which config has a backbone with these parameters: the zoo's, or else keys to set.

    Args:
        known: keys that the file itself contains; the others follow from the shapes.
    """
    of_shapes = fitting_keys(tensors)
    keys = of_shapes | dict(known)
    if not keys:
        return "No config of this release has such a backbone"
    words = " ".join(f"{key} {str(value).replace(' ', '')}" for key, value in keys.items())
    configs = (
        configs_with(of_shapes) if of_shapes and of_shapes == {key: keys[key] for key in of_shapes} else []
    )
    shipped = f"{' or '.join(configs)} has it, or set" if configs else "To fit the file, set"
    return f"{shipped} {words}{'' if known else ' (strides and dilation leave no trace in a file)'}"


def fitting_keys(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config keys of a backbone with these parameters (names ``backbone. ...``), as far as shapes tell; ``{}``
    where it is none of ours. 2D kernels fit a network without time."""
    return keys_of(_of_backbone(tensors))


def _of_backbone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "backbone."
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
