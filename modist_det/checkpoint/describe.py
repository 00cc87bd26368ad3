"""What network a state dict belongs to, as far as shapes tell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .torchvision_video import torchvision_model

__all__ = ["describe_backbone", "fitting_config", "fitting_keys"]

# Blocks of res2 to res5 -> the ResNet's depth.
_DEPTHS: dict[tuple[int, ...], int] = {
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}

# X3D's blocks of res2 to res5, and channels of its stem, before they are multiplied by its factors.
_X3D_DEPTHS = (1, 2, 5, 3)
_X3D_STEM = 12
# PyTorchVideo's have none.
_X3D_NORM = "backbone.res2.0.shortcut_norm.weight"


def describe_backbone(tensors: Mapping[str, Tensor]) -> str:
    """One line for the backbone with these parameters (names ``backbone. ...``).

    Example: ``ResNet3D, depth 50, width 64, 3 input channels, stem kernel 1x7x7, temporal kernels
    1/1/3/3``. Strides, dilation and SlowFast's alpha leave no trace in the shapes.
    """
    if model := _torchvision_model(tensors):
        return f"TorchvisionVideo, {model}"
    if (stem := _kernel_shape(tensors, "backbone.stem.conv_xy.weight")) is not None:
        blocks = "+".join(str(len(_temporal_kernels(tensors, f"backbone.res{i}."))) for i in range(2, 6))
        norm = "" if _X3D_NORM in tensors else ", no norm after res2's shortcut"
        return f"X3D, {blocks} blocks, {stem[0]} channels in the stem, {stem[1]} input channels{norm}"
    if "backbone.fast.stem.conv.weight" not in tensors:
        return f"ResNet3D, {_describe_pathway(tensors, 'backbone.')}"
    fused = ""
    if (fusion := _kernel_shape(tensors, "backbone.fuse_stem.conv.weight")) is not None:
        fused = f"; fusion kernel {fusion[2]}, ratio {fusion[0] // fusion[1]}"
    slow = _describe_pathway(tensors, "backbone.slow.")
    fast = _describe_pathway(tensors, "backbone.fast.")
    return f"SlowFast, slow: {slow}; fast: {fast}{fused}"


def fitting_config(tensors: Mapping[str, Tensor]) -> str:
    """A sentence that says which config has a backbone with these parameters: the zoo's, or else keys to set."""
    # Here: the zoo itself loads weights.
    from ..model_zoo.configs import configs_with

    keys = fitting_keys(tensors)
    if not keys:
        return "No config of this release has such a backbone"
    words = " ".join(f"{key} {str(value).replace(' ', '')}" for key, value in keys.items())
    configs = configs_with(keys)
    shipped = f"{' or '.join(configs)} has it, or set" if configs else "To fit the file, set"
    return f"{shipped} {words} (strides and dilation leave no trace in a file)"


def fitting_keys(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config keys of a backbone with these parameters (names ``backbone. ...``), as far as shapes tell; ``{}``
    where it is none of ours. 2D kernels fit a network without time."""
    if model := _torchvision_model(tensors):
        return {"MODEL.BACKBONE.NAME": "TorchvisionVideo", "MODEL.TORCHVISION.NAME": model}
    if "backbone.stem.conv_xy.weight" in tensors:
        return _x3d_keys(tensors)
    two = "backbone.fast.stem.conv.weight" in tensors
    main = "backbone.slow." if two else "backbone."
    stem = _kernel_shape(tensors, f"{main}stem.conv.weight")
    kernels = [_temporal_kernels(tensors, f"{main}res{stage}.") for stage in range(2, 6)]
    depth = _DEPTHS.get(tuple(len(stage) for stage in kernels))
    if stem is None or depth not in (18, 50, 101):
        return {}
    if not two:
        keys = {
            "DEPTH": depth,
            "WIDTH": stem[0],
            "STEM_KERNEL": list(stem[2:]),
            "TEMPORAL_KERNELS": [_pattern(stage) for stage in kernels],
            "NONLOCAL_BLOCKS": _nonlocal_blocks(tensors, main),
        }
        return {"MODEL.BACKBONE.NAME": "ResNet3D"} | {f"MODEL.RESNET3D.{key}": v for key, v in keys.items()}
    fast = _kernel_shape(tensors, "backbone.fast.stem.conv.weight")
    fusion = _kernel_shape(tensors, "backbone.fuse_stem.conv.weight")
    if fast is None or fusion is None or not fast[0]:
        return {}
    fast_kernels = [_temporal_kernels(tensors, f"backbone.fast.res{stage}.") for stage in range(2, 6)]
    keys = {
        "DEPTH": depth,
        "WIDTH": stem[0],
        "BETA_INV": stem[0] // fast[0],
        "FUSION_KERNEL": fusion[2],
        "FUSION_RATIO": fusion[0] // fusion[1],
        "SLOW_TEMPORAL_KERNELS": [_pattern(stage) for stage in kernels],
        "FAST_TEMPORAL_KERNELS": [_pattern(stage) for stage in fast_kernels],
        "NONLOCAL_BLOCKS": _nonlocal_blocks(tensors, main),
    }
    return {"MODEL.BACKBONE.NAME": "SlowFast"} | {f"MODEL.SLOWFAST.{key}": v for key, v in keys.items()}


def _torchvision_model(tensors: Mapping[str, Tensor]) -> str:
    return torchvision_model({name.removeprefix("backbone.network."): t for name, t in tensors.items()})


def _x3d_keys(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """:func:`fitting_keys` of an X3D whose ``STEM_CHANNELS`` are 12."""
    blocks = [len(_temporal_kernels(tensors, f"backbone.res{stage}.")) for stage in range(2, 6)]
    depth = min(count / base for count, base in zip(blocks, _X3D_DEPTHS, strict=True))
    stem = _kernel_shape(tensors, "backbone.stem.conv_xy.weight")
    narrow = _kernel_shape(tensors, "backbone.res2.0.conv_c.weight")
    if stem is None or narrow is None or blocks != [math.ceil(depth * base) for base in _X3D_DEPTHS]:
        return {}
    keys = {
        "WIDTH_FACTOR": stem[0] / _X3D_STEM,
        "DEPTH_FACTOR": depth,
        "BOTTLENECK_FACTOR": narrow[1] / narrow[0],
        "RES2_SHORTCUT_NORM": _X3D_NORM in tensors,
    }
    return {"MODEL.BACKBONE.NAME": "X3D"} | {f"MODEL.X3D.{key}": v for key, v in keys.items()}


def _nonlocal_blocks(tensors: Mapping[str, Tensor], prefix: str) -> list[list[int]]:
    """Of res2 to res5: the blocks that a non-local block follows."""
    stages: list[set[int]] = [set() for _ in range(4)]
    for name in tensors:
        if match := re.match(re.escape(prefix) + r"res([2-5])\.(\d+)\.nonlocal_block\.", name):
            stages[int(match[1]) - 2].add(int(match[2]))
    return [sorted(blocks) for blocks in stages]


def _pattern(kernels: Sequence[int]) -> int | list[int]:
    """The shortest sizes that repeat to ``kernels``, as the config takes them: [3, 1] for 3, 1, 3."""
    for length in range(1, len(kernels) + 1):
        repeated = [kernels[i % length] for i in range(len(kernels))]
        if repeated == list(kernels):
            return kernels[0] if length == 1 else list(kernels[:length])
    return list(kernels)


def _describe_pathway(tensors: Mapping[str, Tensor], prefix: str) -> str:
    stem = _kernel_shape(tensors, f"{prefix}stem.conv.weight")
    if stem is None:
        return "without a stem that this release knows"
    stages = [_temporal_kernels(tensors, f"{prefix}res{stage}.") for stage in range(2, 6)]
    blocks = tuple(len(kernels) for kernels in stages)
    depth = f"depth {_DEPTHS[blocks]}" if blocks in _DEPTHS else f"{'+'.join(map(str, blocks))} blocks"
    nonlocal_block = re.compile(re.escape(prefix) + r"res\d\.\d+\.nonlocal_block\.")
    nonlocal_blocks = len({match[0] for name in tensors if (match := nonlocal_block.match(name))})
    return (
        f"{depth}, width {stem[0]}, {stem[1]} input channels, stem kernel {'x'.join(map(str, stem[2:]))}, "
        f"temporal kernels {'/'.join(_shortened(kernels) for kernels in stages)}"
        + (f", {nonlocal_blocks} non-local blocks" if nonlocal_blocks else "")
    )


def _kernel_shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    """Shape of a convolution's weight (out, in, T, H, W), T 1 in a 2D one; ``None`` where there is no such thing."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() not in (4, 5):
        return None
    shape = tuple(tensor.shape)
    return shape if len(shape) == 5 else (*shape[:2], 1, *shape[2:])


def _temporal_kernels(tensors: Mapping[str, Tensor], stage: str) -> list[int]:
    """Of the first convolution of each block, in order."""
    kernels = {}
    for name in tensors:
        match = re.fullmatch(re.escape(stage) + r"(\d+)\.conv_a\.weight", name)
        if match and (shape := _kernel_shape(tensors, name)) is not None:
            kernels[int(match[1])] = shape[2]
    return [kernels[block] for block in sorted(kernels)]


def _shortened(kernels: list[int]) -> str:
    """``1`` for a stage of one size, ``3+1+3+1`` otherwise."""
    if not kernels:
        return "none"
    return str(kernels[0]) if len(set(kernels)) == 1 else "+".join(map(str, kernels))
