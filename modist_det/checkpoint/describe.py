"""What network a state dict belongs to, as far as shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .torchvision_video import torchvision_family

__all__ = ["describe_backbone"]

# Blocks of res2 to res5 -> the ResNet's depth.
_DEPTHS = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def describe_backbone(tensors: Mapping[str, Tensor]) -> str:
    """One line for the backbone with these parameters (names ``backbone. ...``).

    Example: ``ResNet3D, depth 50, width 64, 3 input channels, stem kernel 1x7x7, temporal kernels
    1/1/3/3``. Strides, dilation and SlowFast's alpha leave no trace in the shapes.
    """
    if family := torchvision_family(name.removeprefix("backbone.network.") for name in tensors):
        return f"TorchvisionVideo, {family}"
    if (stem := _conv_shape(tensors, "backbone.stem.conv_xy.weight")) is not None:
        blocks = "+".join(str(len(_temporal_kernels(tensors, f"backbone.res{i}."))) for i in range(2, 6))
        return f"X3D, {blocks} blocks, {stem[0]} channels in the stem, {stem[1]} input channels"
    if "backbone.fast.stem.conv.weight" not in tensors:
        return f"ResNet3D, {_describe_pathway(tensors, 'backbone.')}"
    fused = ""
    if (fusion := _conv_shape(tensors, "backbone.fuse_stem.conv.weight")) is not None:
        fused = f"; fusion kernel {fusion[2]}, ratio {fusion[0] // fusion[1]}"
    slow = _describe_pathway(tensors, "backbone.slow.")
    fast = _describe_pathway(tensors, "backbone.fast.")
    return f"SlowFast, slow: {slow}; fast: {fast}{fused}"


def _describe_pathway(tensors: Mapping[str, Tensor], prefix: str) -> str:
    stem = _conv_shape(tensors, f"{prefix}stem.conv.weight")
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


def _conv_shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    """Shape of a 3D convolution's weight (out, in, T, H, W); ``None`` where there is no such thing."""
    tensor = tensors.get(name)
    return tuple(tensor.shape) if tensor is not None and tensor.dim() == 5 else None


def _temporal_kernels(tensors: Mapping[str, Tensor], stage: str) -> list[int]:
    """Of the first convolution of each block, in order."""
    kernels = {}
    for name in tensors:
        match = re.fullmatch(re.escape(stage) + r"(\d+)\.conv_a\.weight", name)
        if match and (shape := _conv_shape(tensors, name)) is not None:
            kernels[int(match[1])] = shape[2]
    return [kernels[block] for block in sorted(kernels)]


def _shortened(kernels: list[int]) -> str:
    """``1`` for a stage of one size, ``3+1+3+1`` otherwise."""
    if not kernels:
        return "none"
    return str(kernels[0]) if len(set(kernels)) == 1 else "+".join(map(str, kernels))
