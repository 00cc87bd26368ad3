"""``SlowFast`` (Feichtenhofer et al., ICCV 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core import COUNT, CfgNode, Key, add_section
from ...utils.errors import UserError
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .blocks import conv3d, initialize, make_norm
from .resnet3d import KERNEL, STAGE_BLOCKS, STAGES, ResNet3D, TemporalKernels, describe_pathway, pathway_keys
from .shapes import kernel_shape

__all__ = ["FuseFastToSlow", "SlowFast", "slow_frame_indices"]

add_section(
    "MODEL.SLOWFAST",
    DEPTH=50,
    WIDTH=Key(64, COUNT),
    ALPHA=Key(4, COUNT),  # the slow pathway sees every ALPHA-th frame
    BETA_INV=Key(8, COUNT),  # the fast pathway has 1 / BETA_INV of the channels
    FUSION_KERNEL=Key(7, COUNT),
    FUSION_RATIO=Key(2, COUNT),
    SLOW_TEMPORAL_KERNELS=Key([1, 1, 3, 3], STAGES),  # as RESNET3D.TEMPORAL_KERNELS
    FAST_TEMPORAL_KERNELS=Key([3, 3, 3, 3], STAGES),
    DILATE_RES5=False,
    NORM="BN",
    ZERO_INIT_FINAL_NORM=True,
    NONLOCAL_BLOCKS=Key([[], [], [], []], STAGE_BLOCKS),  # of the slow pathway, as RESNET3D.NONLOCAL_BLOCKS
    NONLOCAL_KIND="dot_product",
    NONLOCAL_POOL=Key([1, 2, 2], KERNEL),
)


def slow_frame_indices(num_frames: int, alpha: int) -> list[int]:
    """The ``num_frames // alpha`` frames of a clip that the slow pathway sees.

    They are evenly spaced from the first to the last frame: ``linspace(0, T - 1, T // alpha)``, rounded down in exact
    arithmetic. PySlowFast computes in float32, which gives the same frames for clips of up to 159 frames.

    Raises:
        UserError: ``num_frames`` is not a positive multiple of ``alpha``.
    """
    count = num_frames // alpha
    if count == 0 or num_frames % alpha:
        raise UserError(f"SlowFast with alpha {alpha} needs a multiple of {alpha} frames, not {num_frames}")
    return [i * (num_frames - 1) // max(count - 1, 1) for i in range(count)]


class FuseFastToSlow(nn.Module):
    """Fast features at the frame rate of the slow pathway: strided temporal convolution, norm, ReLU."""

    def __init__(self, channels: int, ratio: int, kernel: int, alpha: int, norm: str) -> None:
        super().__init__()
        self.conv = conv3d(channels, channels * ratio, (kernel, 1, 1), (alpha, 1, 1), norm=norm)
        self.norm = make_norm(norm, channels * ratio)
        self.relu = nn.ReLU(inplace=True)
        initialize(self)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """``slow`` with the fused channels appended."""
        return torch.cat([slow, self.conv.then(fast, self.norm, self.relu)], dim=1)


@BACKBONE_REGISTRY.register()
class SlowFast(Backbone):
    """A slow pathway (few frames, many channels) and a fast one (all frames, few channels).

    Both are a :class:`ResNet3D`, named ``slow`` and ``fast``. After the stem, res2, res3 and res4, fast features are
    fused into the slow pathway (``fuse_stem`` ... ``fuse_res4``). ``forward`` takes the clip at the full frame rate and
    selects the frames of the slow pathway.

    Args:
        depth, width, dilate_res5, in_channels, norm, zero_init_final_norm: as in :class:`ResNet3D`.
        alpha: the slow pathway sees every ``alpha``-th frame.
        beta_inv: the fast pathway has ``width // beta_inv`` stem channels.
        fusion_kernel: temporal size of the fusion convolutions, odd.
        fusion_ratio: fused channels per fast channel.
        slow_temporal_kernels, fast_temporal_kernels: as ``temporal_kernels`` of :class:`ResNet3D`.
            (The "R101 50_50" models have ``[3] * 6 + [1] * 17`` in res4.)
        nonlocal_blocks, nonlocal_kind, nonlocal_pool: of the slow pathway, as in :class:`ResNet3D`.

    Raises:
        UserError: as for :class:`ResNet3D`, or ``width`` is not a multiple of ``beta_inv``.
    """

    untraced_keys = ("MODEL.SLOWFAST.ALPHA",)

    def __init__(
        self,
        depth: int = 50,
        width: int = 64,
        alpha: int = 4,
        beta_inv: int = 8,
        fusion_kernel: int = 7,
        fusion_ratio: int = 2,
        dilate_res5: bool = False,
        in_channels: int = 3,
        norm: str = "BN",
        zero_init_final_norm: bool = True,
        slow_temporal_kernels: TemporalKernels = (1, 1, 3, 3),
        fast_temporal_kernels: TemporalKernels = (3, 3, 3, 3),
        nonlocal_blocks: Sequence[Sequence[int]] = ((), (), (), ()),
        nonlocal_kind: str = "dot_product",
        nonlocal_pool: Sequence[int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        if width % beta_inv:
            raise UserError(f"SlowFast's width {width} is not a multiple of beta_inv {beta_inv}")
        self.alpha = alpha
        shared: dict[str, Any] = {
            "depth": depth,
            "dilate_res5": dilate_res5,
            "in_channels": in_channels,
            "norm": norm,
            "zero_init_final_norm": zero_init_final_norm,
        }
        self.fast = ResNet3D(
            width=width // beta_inv, stem_kernel=(5, 7, 7), temporal_kernels=fast_temporal_kernels, **shared
        )
        fast_channels = (width // beta_inv, *self.fast.stage_channels[:3])
        self.slow = ResNet3D(
            **shared,
            width=width,
            temporal_kernels=slow_temporal_kernels,
            lateral_channels=[channels * fusion_ratio for channels in fast_channels],
            nonlocal_blocks=nonlocal_blocks,
            nonlocal_kind=nonlocal_kind,
            nonlocal_pool=nonlocal_pool,
        )
        self.fuse_stem, self.fuse_res2, self.fuse_res3, self.fuse_res4 = (
            FuseFastToSlow(channels, fusion_ratio, fusion_kernel, alpha, norm) for channels in fast_channels
        )
        self.out_channels = self.slow.out_channels + self.fast.out_channels
        self.temporal_strides = (alpha, 1)
        self.spatial_stride = self.slow.spatial_stride

    @classmethod
    def from_config(cls, cfg: CfgNode) -> SlowFast:
        """Built from ``cfg.MODEL.SLOWFAST``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **section_arguments(cfg.MODEL.SLOWFAST))

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        slow, fast = pathway_keys(tensors, "slow."), pathway_keys(tensors, "fast.")
        fusion = kernel_shape(tensors, "fuse_stem.conv.weight")
        if not slow or not fast or fusion is None:
            return {}
        keys = {
            "DEPTH": slow["DEPTH"],
            "WIDTH": slow["WIDTH"],
            "BETA_INV": slow["WIDTH"] // fast["WIDTH"],
            "FUSION_KERNEL": fusion[2],
            "FUSION_RATIO": fusion[0] // fusion[1],
            "SLOW_TEMPORAL_KERNELS": slow["TEMPORAL_KERNELS"],
            "FAST_TEMPORAL_KERNELS": fast["TEMPORAL_KERNELS"],
            "NONLOCAL_BLOCKS": slow["NONLOCAL_BLOCKS"],
        }
        return {f"MODEL.SLOWFAST.{key}": value for key, value in keys.items()}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        fast = describe_pathway(tensors, "fast.")
        if not fast:
            return ""
        fusion = kernel_shape(tensors, "fuse_stem.conv.weight")
        fused = f"; fusion kernel {fusion[2]}, ratio {fusion[0] // fusion[1]}" if fusion else ""
        return f"slow: {describe_pathway(tensors, 'slow.')}; fast: {fast}{fused}"

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> slow map (T / alpha frames) and fast map (T frames).

        Raises:
            UserError: T is not a multiple of ``alpha``.
        """
        # Slices with indices on the host: an index tensor would be copied to the device.
        frames = slow_frame_indices(clip.shape[2], self.alpha)
        slow = self.slow.stem(torch.stack([clip[:, :, i] for i in frames], dim=2))
        fast = self.fast.stem(clip)
        slow = self.slow.res2(self.fuse_stem(slow, fast))
        fast = self.fast.res2(fast)
        slow = self.slow.res3(self.fuse_res2(slow, fast))
        fast = self.fast.res3(fast)
        slow = self.slow.res4(self.fuse_res3(slow, fast))
        fast = self.fast.res4(fast)
        slow = self.slow.res5(self.fuse_res4(slow, fast))
        return [slow, self.fast.res5(fast)]
