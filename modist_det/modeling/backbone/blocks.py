"""Stem, residual blocks, non-local blocks and stages of 3D ResNets (He et al. 2016, inflated in time).

Stages keep the temporal resolution. The 3x3 convolution in the first block of a stage halves the spatial resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.errors import UserError
from .convolution import Conv3d

__all__ = [
    "NONLOCAL_KINDS",
    "NORMS",
    "BasicBlock",
    "BottleneckBlock",
    "NonLocalBlock",
    "ResidualBlock",
    "Stem",
    "add_nonlocal_blocks",
    "conv3d",
    "initialize",
    "make_norm",
    "make_stage",
    "zero_last_layers",
]

NORMS = ("BN", "GN", "none")
NONLOCAL_KINDS = ("softmax", "dot_product")


def make_norm(norm: str, channels: int) -> nn.Module:
    """The normalization layer ``norm`` (one of :data:`NORMS`) for ``channels``.

    "GN" has at most 32 groups of at least two channels. "none" is the identity; the preceding convolution then has a
    bias.
    """
    if norm == "BN":
        return nn.BatchNorm3d(channels, eps=1e-5, momentum=0.1)
    if norm == "GN":
        groups = math.gcd(32, channels)
        return nn.GroupNorm(max(1, groups // 2) if groups == channels else groups, channels)
    if norm == "none":
        return nn.Identity()
    raise UserError(f"the backbone's norm is {norm!r}; known: {', '.join(NORMS)}")


def conv3d(
    in_channels: int,
    out_channels: int,
    kernel: Sequence[int],
    stride: Sequence[int] = (1, 1, 1),
    dilation: int = 1,
    norm: str = "BN",
    groups: int = 1,
) -> Conv3d:
    """A convolution that keeps the size of its input, apart from ``stride``.

    Args:
        kernel: (T, H, W), odd sizes.
        dilation: spatial dilation.
        norm: the normalization that follows; with "none" the convolution has a bias.
    """
    if any(size % 2 == 0 for size in kernel):
        raise UserError(f"convolution kernels must have odd sizes, not {tuple(kernel)}")
    time, height, width = kernel
    return Conv3d(
        in_channels,
        out_channels,
        (time, height, width),
        stride=(stride[0], stride[1], stride[2]),
        padding=(time // 2, height // 2 * dilation, width // 2 * dilation),
        dilation=(1, dilation, dilation),
        groups=groups,
        bias=norm == "none",
    )


class Stem(nn.Module):
    """Convolution, norm, ReLU and a 1x3x3 max pool with stride 1x2x2."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Sequence[int], stride: Sequence[int], norm: str
    ) -> None:
        super().__init__()
        self.conv = conv3d(in_channels, out_channels, kernel, stride, norm=norm)
        self.norm = make_norm(norm, out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, clip: Tensor) -> Tensor:
        return self.pool(self.conv.then(clip, self.norm, self.relu))


class ResidualBlock(nn.Module):
    """The skip connection: a 1x1 convolution with norm if the shape changes, otherwise the identity.

    ``nonlocal_block`` comes after the last ReLU. It is the identity unless :func:`add_nonlocal_blocks` replaces it.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        if in_channels != out_channels or stride != 1:
            self.shortcut: nn.Module = conv3d(
                in_channels, out_channels, (1, 1, 1), (1, stride, stride), norm=norm
            )
            self.shortcut_norm = make_norm(norm, out_channels)
        else:
            self.shortcut = nn.Identity()
            self.shortcut_norm = nn.Identity()
        self.nonlocal_block: nn.Module = nn.Identity()

    def skip(self, x: Tensor) -> Tensor:
        return self.shortcut.then(x, self.shortcut_norm) if isinstance(self.shortcut, Conv3d) else x

    def last_layer(self) -> nn.Module:
        """The layer whose weight, if zero, makes the block the identity (except for the ReLU)."""
        raise NotImplementedError


class BottleneckBlock(ResidualBlock):
    """Tx1x1, 1x3x3 and 1x1x1 convolutions; the output has four times as many channels as the inner layers."""

    expansion = 4

    def __init__(
        self, in_channels: int, inner: int, temporal_kernel: int, stride: int, dilation: int, norm: str
    ) -> None:
        super().__init__(in_channels, inner * self.expansion, stride, norm)
        self.conv_a = conv3d(in_channels, inner, (temporal_kernel, 1, 1), norm=norm)
        self.norm_a = make_norm(norm, inner)
        self.conv_b = conv3d(inner, inner, (1, 3, 3), (1, stride, stride), dilation, norm)
        self.norm_b = make_norm(norm, inner)
        self.conv_c = conv3d(inner, inner * self.expansion, (1, 1, 1), norm=norm)
        self.norm_c = make_norm(norm, inner * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_a.then(x, self.norm_a, self.relu)
        out = self.conv_b.then(out, self.norm_b, self.relu)
        return self.nonlocal_block(self.conv_c.then(out, self.norm_c, self.relu, self.skip(x)))

    def last_layer(self) -> nn.Module:
        return self.conv_c if isinstance(self.norm_c, nn.Identity) else self.norm_c


class BasicBlock(ResidualBlock):
    """Tx3x3 and 1x3x3 convolutions with the same number of channels."""

    expansion = 1

    def __init__(
        self, in_channels: int, inner: int, temporal_kernel: int, stride: int, dilation: int, norm: str
    ) -> None:
        super().__init__(in_channels, inner, stride, norm)
        self.conv_a = conv3d(in_channels, inner, (temporal_kernel, 3, 3), (1, stride, stride), dilation, norm)
        self.norm_a = make_norm(norm, inner)
        self.conv_b = conv3d(inner, inner, (1, 3, 3), (1, 1, 1), dilation, norm)
        self.norm_b = make_norm(norm, inner)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_a.then(x, self.norm_a, self.relu)
        return self.nonlocal_block(self.conv_b.then(out, self.norm_b, self.relu, self.skip(x)))

    def last_layer(self) -> nn.Module:
        return self.conv_b if isinstance(self.norm_b, nn.Identity) else self.norm_b


def make_stage(
    block: type[BottleneckBlock] | type[BasicBlock],
    depth: int,
    in_channels: int,
    inner: int,
    temporal_kernels: int | Sequence[int],
    stride: int,
    dilation: int,
    norm: str,
) -> nn.Sequential:
    """``depth`` blocks; the first one has ``stride``.

    ``temporal_kernels`` is one size for all blocks, or a list of sizes that repeats over the blocks.
    """
    kernels = [temporal_kernels] if isinstance(temporal_kernels, int) else list(temporal_kernels)
    blocks = []
    for i in range(depth):
        kernel = kernels[i % len(kernels)]
        blocks.append(block(in_channels, inner, kernel, stride if i == 0 else 1, dilation, norm))
        in_channels = inner * block.expansion
    return nn.Sequential(*blocks)


class NonLocalBlock(nn.Module):
    """Attention between all positions of a map (Wang et al., CVPR 2018): ``x + norm(conv_out(y))``.

    ``y`` at position i is a weighted mean of g(x) over the positions j of the map pooled by ``pool``. The weights are
    the softmax over j of the similarity theta(x_i) . phi(x_j) divided by the square root of the inner channels
    ("softmax"), or the similarity divided by the number of positions j ("dot_product").

    Args:
        channels: of the map, an even number; the inner layers have half as many.
        kind: one of :data:`NONLOCAL_KINDS`.
        pool: (T, H, W), size and stride of the max pool.
        norm: one of :data:`NORMS`.

    Raises:
        UserError: an unknown ``kind``.
    """

    def __init__(self, channels: int, kind: str, pool: Sequence[int], norm: str) -> None:
        super().__init__()
        if kind not in NONLOCAL_KINDS:
            raise UserError(f"a non-local block is {' or '.join(NONLOCAL_KINDS)}, not {kind!r}")
        self.kind = kind
        self.conv_theta = nn.Conv3d(channels, channels // 2, 1)
        self.conv_phi = nn.Conv3d(channels, channels // 2, 1)
        self.conv_g = nn.Conv3d(channels, channels // 2, 1)
        self.conv_out = nn.Conv3d(channels // 2, channels, 1)
        self.norm = make_norm(norm, channels)
        self.window = (pool[0], pool[1], pool[2])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape.

        Raises:
            UserError: the map is smaller than ``pool``.
        """
        size = x.shape[2:]
        if any(cells < cover for cells, cover in zip(size, self.window, strict=True)):
            raise UserError(
                f"a non-local block pools its map by {'x'.join(map(str, self.window))}, but the map has only "
                f"{'x'.join(map(str, size))} cells (TxHxW); use larger clips"
            )
        pooled = F.max_pool3d(x, self.window)
        # (B, 1, positions, channels): attention with one head.
        theta, phi, g = (
            conv(maps).flatten(2).transpose(1, 2).unsqueeze(1)
            for conv, maps in ((self.conv_theta, x), (self.conv_phi, pooled), (self.conv_g, pooled))
        )
        if self.kind == "softmax":
            y = F.scaled_dot_product_attention(theta, phi, g)
        else:  # without the matrix of all pairs of positions
            y = theta @ (phi.transpose(2, 3) @ (g / g.shape[2]))
        y = y.squeeze(1).transpose(1, 2).unflatten(2, size)
        return x + self.norm(self.conv_out(y))

    def last_layer(self) -> nn.Module:
        """See :meth:`ResidualBlock.last_layer`."""
        return self.conv_out if isinstance(self.norm, nn.Identity) else self.norm


def add_nonlocal_blocks(
    stage: nn.Sequential, channels: int, after: Sequence[int], kind: str, pool: Sequence[int], norm: str
) -> None:
    """Add a :class:`NonLocalBlock` after each of the blocks ``after`` (indices from 0) of a stage.

    Raises:
        UserError: the stage has no such block, or as for :class:`NonLocalBlock`.
    """
    for index in after:
        if not 0 <= index < len(stage):
            raise UserError(
                f"a non-local block cannot follow block {index} of a stage with the blocks 0 to {len(stage) - 1}"
            )
        stage[index].nonlocal_block = NonLocalBlock(channels, kind, pool, norm)


def initialize(network: nn.Module) -> None:
    """Initialize convolutions as Caffe2's MSRA fill does (normal, fan out), and norms with ones and zeros."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm3d, nn.GroupNorm)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def zero_last_layers(network: nn.Module) -> None:
    """Make residual and non-local blocks start as the identity, by a zero weight in their last norm or, without norms,
    in their last convolution."""
    for module in network.modules():
        if isinstance(module, (ResidualBlock, NonLocalBlock)):
            nn.init.zeros_(module.last_layer().get_parameter("weight"))
