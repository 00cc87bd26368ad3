"""What the names and shapes of parameters tell about a ResNet: :meth:`Backbone.config_of` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

__all__ = ["kernel_shape", "nonlocal_blocks", "pattern", "stage_kernels"]


def kernel_shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    """Shape of a convolution's weight (out, in, T, H, W), T 1 in a 2D one; ``None`` where there is none
    or an empty one."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() not in (4, 5) or not tensor.numel():
        return None
    shape = tuple(tensor.shape)
    return shape if len(shape) == 5 else (*shape[:2], 1, *shape[2:])


def stage_kernels(tensors: Mapping[str, Tensor], prefix: str = "") -> list[list[int]]:
    """Of res2 to res5: the temporal size of the first convolution of each block, in order."""
    stages: list[dict[int, int]] = [{} for _ in range(4)]
    for name in tensors:
        match = re.fullmatch(re.escape(prefix) + r"res([2-5])\.(\d+)\.conv_a\.weight", name)
        if match and (shape := kernel_shape(tensors, name)) is not None:
            stages[int(match[1]) - 2][int(match[2])] = shape[2]
    return [[stage[block] for block in sorted(stage)] for stage in stages]


def nonlocal_blocks(tensors: Mapping[str, Tensor], prefix: str = "") -> list[list[int]]:
    """Of res2 to res5: the blocks that a non-local block follows."""
    stages: list[set[int]] = [set() for _ in range(4)]
    for name in tensors:
        if match := re.match(re.escape(prefix) + r"res([2-5])\.(\d+)\.nonlocal_block\.", name):
            stages[int(match[1]) - 2].add(int(match[2]))
    return [sorted(blocks) for blocks in stages]


def pattern(kernels: Sequence[int]) -> int | list[int]:
    """The shortest sizes that repeat to ``kernels``, as the config takes them: [3, 1] for 3, 1, 3."""
    for length in range(1, len(kernels) + 1):
        repeated = [kernels[i % length] for i in range(len(kernels))]
        if repeated == list(kernels):
            return kernels[0] if length == 1 else list(kernels[:length])
    return list(kernels)
