"""``X3D``: small networks of channel-wise 3D convolutions (Feichtenhofer, CVPR 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...core import COUNT, POSITIVE, CfgNode, Key, add_section
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .blocks import ResidualBlock, conv3d, initialize, make_norm, zero_last_layers
from .shapes import kernel_shape, stage_kernels

__all__ = ["X3D", "SqueezeExcite", "X3DBlock", "X3DStem"]

# XS, S and M; L has DEPTH_FACTOR 5.0.
add_section(
    "MODEL.X3D",
    WIDTH_FACTOR=Key(2.0, POSITIVE),
    DEPTH_FACTOR=Key(2.2, POSITIVE),
    # Channels of the 3x3x3 convolutions per channel of a block's output.
    BOTTLENECK_FACTOR=Key(2.25, POSITIVE),
    STEM_CHANNELS=Key(12, COUNT),  # before WIDTH_FACTOR
    DILATE_RES5=False,
    NORM="BN",
    ZERO_INIT_FINAL_NORM=True,
    RES2_SHORTCUT_NORM=True,  # False: PyTorchVideo's hub
    HEAD_CHANNELS=Key(2048, COUNT),  # of X3DHead's second convolution
)

# Blocks of res2 to res5 before they are multiplied by the depth factor.
_STAGE_DEPTHS = (1, 2, 5, 3)
# Inner channels of squeeze-and-excitation, as a share of its input channels.
_SQUEEZE_RATIO = 1 / 16
_RES2_NORM = "res2.0.shortcut_norm.weight"  # PyTorchVideo's networks have none


class X3DStem(nn.Module):
    """1x3x3 convolution of stride 1x2x2, channel-wise 5x1x1 convolution, norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: str) -> None:
        super().__init__()
        # Never with a bias, although the norm follows only the second convolution.
        self.conv_xy = conv3d(in_channels, out_channels, (1, 3, 3), (1, 2, 2))
        self.conv = conv3d(out_channels, out_channels, (5, 1, 1), norm=norm, groups=out_channels)
        self.norm = make_norm(norm, out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, clip: Tensor) -> Tensor:
        return self.conv.then(self.conv_xy(clip), self.norm, self.relu)


class SqueezeExcite(nn.Module):
    """Weights for channels, computed from their global mean by two layers and a sigmoid (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _round_width(channels * _SQUEEZE_RATIO, divisor=8)
        self.fc1 = nn.Conv3d(channels, inner, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3, 4), keepdim=True)
        return x * self.fc2(self.relu(self.fc1(mean))).sigmoid()


class X3DBlock(ResidualBlock):
    """1x1x1, channel-wise 3x3x3 and 1x1x1 convolutions, with Swish after the second.

    Args:
        inner: channels of the 3x3x3 convolution.
        squeeze: add squeeze-and-excitation before Swish.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inner: int,
        stride: int,
        dilation: int,
        norm: str,
        squeeze: bool,
    ) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        self.conv_a = conv3d(in_channels, inner, (1, 1, 1), norm=norm)
        self.norm_a = make_norm(norm, inner)
        self.conv_b = conv3d(inner, inner, (3, 3, 3), (1, stride, stride), dilation, norm, groups=inner)
        self.norm_b = make_norm(norm, inner)
        self.se: nn.Module = SqueezeExcite(inner) if squeeze else nn.Identity()
        self.swish = nn.SiLU(inplace=True)
        self.conv_c = conv3d(inner, out_channels, (1, 1, 1), norm=norm)
        self.norm_c = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv_a.then(x, self.norm_a, self.relu)
        out = self.swish(self.se(self.conv_b.then(out, self.norm_b)))
        return self.nonlocal_block(self.conv_c.then(out, self.norm_c, self.relu, self.skip(x)))

    def last_layer(self) -> nn.Module:
        return self.conv_c if isinstance(self.norm_c, nn.Identity) else self.norm_c


@BACKBONE_REGISTRY.register()
class X3D(Backbone):
    """X3D: the number of frames never changes; the stem and each of res2 to res5 halve the spatial resolution.

    The defaults are those of XS, S and M, which differ only in their clips (4 frames of 182, 13 of 182 and 16 of 256
    pixels). L has ``depth_factor=5.0``. Layers are named as in :class:`~modist_det.modeling.backbone.ResNet3D`, plus
    ``stem.conv_xy`` and, in every other block, ``se``.

    Args:
        width_factor: factor for the channels (12, 12, 24, 48, 96) of the stem and res2 to res5.
        depth_factor: factor for the number of blocks (1, 2, 5, 3) in res2 to res5, rounded up.
        bottleneck_factor: channels of a block's 3x3x3 convolution per output channel.
        stem_channels: the 12 above; the stages have 1, 2, 4 and 8 times as many (rounded to multiples of 8 from res3
            on).
        dilate_res5, in_channels, norm, zero_init_final_norm: as in :class:`~modist_det.modeling.backbone.ResNet3D`.
        res2_shortcut_norm: add a norm after the convolution of res2's shortcut, as PySlowFast does. PyTorchVideo has
            none, because the number of channels does not change there.

    Attributes:
        inner_channels: of the 3x3x3 convolutions of res5, and of X3DHead.
    """

    def __init__(
        self,
        width_factor: float = 2.0,
        depth_factor: float = 2.2,
        bottleneck_factor: float = 2.25,
        stem_channels: int = 12,
        dilate_res5: bool = False,
        in_channels: int = 3,
        norm: str = "BN",
        zero_init_final_norm: bool = True,
        res2_shortcut_norm: bool = True,
    ) -> None:
        super().__init__()
        channels = _round_width(stem_channels * width_factor)
        self.stem = X3DStem(in_channels, channels, norm)
        stages = []
        base = stem_channels
        for i, depth in enumerate(_STAGE_DEPTHS):
            base = base if i == 0 else _round_width(2 * base, divisor=8)
            out_channels = _round_width(base * width_factor)
            self.inner_channels = int(bottleneck_factor * out_channels)
            dilated = dilate_res5 and i == 3
            blocks = []
            for j in range(math.ceil(depth_factor * depth)):
                stride = 2 if j == 0 and not dilated else 1
                blocks.append(
                    X3DBlock(
                        channels,
                        out_channels,
                        self.inner_channels,
                        stride,
                        2 if dilated else 1,
                        norm,
                        squeeze=j % 2 == 0,
                    )
                )
                channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.res2, self.res3, self.res4, self.res5 = stages
        if not res2_shortcut_norm:
            self.res2[0].shortcut_norm = nn.Identity()

        self.out_channels = (channels,)
        self.temporal_strides = (1,)
        self.spatial_stride = 16 if dilate_res5 else 32
        initialize(self)
        if zero_init_final_norm:
            zero_last_layers(self)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> X3D:
        """Built from ``cfg.MODEL.X3D``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        arguments = section_arguments(cfg.MODEL.X3D)
        del arguments["head_channels"]
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **arguments)

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """For networks whose ``STEM_CHANNELS`` are 12."""
        stem, narrow = (
            kernel_shape(tensors, f"{layer}.weight") for layer in ("stem.conv_xy", "res2.0.conv_c")
        )
        blocks = [len(stage) for stage in stage_kernels(tensors)]
        depth = min(count / base for count, base in zip(blocks, _STAGE_DEPTHS, strict=True))
        if stem is None or narrow is None or blocks != [math.ceil(depth * base) for base in _STAGE_DEPTHS]:
            return {}
        keys = {
            "WIDTH_FACTOR": stem[0] / 12,
            "DEPTH_FACTOR": depth,
            "BOTTLENECK_FACTOR": narrow[1] / narrow[0],
            "RES2_SHORTCUT_NORM": _RES2_NORM in tensors,
        }
        return {f"MODEL.X3D.{key}": value for key, value in keys.items()}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        stem = kernel_shape(tensors, "stem.conv_xy.weight")
        if stem is None:
            return ""
        blocks = "+".join(str(len(stage)) for stage in stage_kernels(tensors))
        norm = "" if _RES2_NORM in tensors else ", no norm after res2's shortcut"
        return f"{blocks} blocks, {stem[0]} channels in the stem, {stem[1]} input channels{norm}"

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> [(B, ``out_channels[0]``, T, H', W')]."""
        return [self.res5(self.res4(self.res3(self.res2(self.stem(clip)))))]


def _round_width(width: float, divisor: int = 1) -> int:
    """The multiple of ``divisor`` nearest to ``width``, but at least ``divisor`` and 90 % of ``width``."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
