"""``ResNet3D``: the single-pathway 3D ResNets (Slow, dense Slow, I3D, C2D, motion pathways)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, CfgNode, Key, ListOf, add_section
from ...utils.errors import UserError, nearest
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .blocks import (
    BasicBlock,
    BottleneckBlock,
    Stem,
    add_nonlocal_blocks,
    initialize,
    make_stage,
    zero_last_layers,
)
from .shapes import kernel_shape, nonlocal_blocks, pattern, stage_kernels

__all__ = [
    "KERNEL",
    "PRESETS",
    "RESNET3D_KEYS",
    "STAGES",
    "STAGE_BLOCKS",
    "STAGE_DEPTHS",
    "ResNet3D",
    "TemporalKernels",
    "describe_pathway",
    "pathway_keys",
]

KERNEL = ListOf(int, 3, COUNT)
STAGES = ListOf(int, 4, COUNT, nested=True)
STAGE_BLOCKS = ListOf(int, 4, NOT_NEGATIVE, lists=True)

RESNET3D_KEYS = add_section(
    "MODEL.RESNET3D",
    DEPTH=50,  # 18, 50 or 101
    WIDTH=Key(64, COUNT),
    STEM_KERNEL=Key([1, 7, 7], KERNEL),  # (T, H, W)
    STEM_STRIDE=Key([1, 2, 2], KERNEL),
    # Of the first convolution of each block: one size a stage, or a list per stage to alternate.
    TEMPORAL_KERNELS=Key([1, 1, 3, 3], STAGES),
    POOL_AFTER_RES2=Key(1, COUNT),  # temporal size and stride of a max pool (I3D, C2D: 2)
    DILATE_RES5=False,  # stride 1, dilation 2: the last map keeps 1/16 resolution
    NORM="BN",  # "BN", "GN" (32 groups or fewer) or "none"
    ZERO_INIT_FINAL_NORM=True,
    # Of res2 to res5: the blocks (from 0) that a non-local block follows.
    NONLOCAL_BLOCKS=Key([[], [], [], []], STAGE_BLOCKS),
    NONLOCAL_KIND="softmax",  # or "dot_product"
    NONLOCAL_POOL=Key([1, 2, 2], KERNEL),  # (T, H, W) max pool before keys and values
)

# Per stage (res2 to res5): one size, or sizes that repeat over the stage's blocks.
TemporalKernels = Sequence[int | Sequence[int]]

# Blocks of res2 to res5. Depth 18 has basic blocks, the others bottlenecks.
STAGE_DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

# Settings of the published networks. Slow, I3D and C2D are those of PySlowFast, dense Slow is the visual pathway of
# MoDist, motion is its motion pathway at 1/8 width.
PRESETS: dict[str, dict[str, Any]] = {
    "slow": {"stem_kernel": (1, 7, 7), "stem_stride": (1, 2, 2), "temporal_kernels": (1, 1, 3, 3)},
    "dense_slow": {"stem_kernel": (5, 7, 7), "stem_stride": (2, 2, 2), "temporal_kernels": (1, 1, 3, 3)},
    "i3d": {
        "stem_kernel": (5, 7, 7),
        "stem_stride": (1, 2, 2),
        "temporal_kernels": (3, (3, 1), (3, 1), (1, 3)),
        "pool_after_res2": 2,
    },
    "c2d": {
        "stem_kernel": (1, 7, 7),
        "stem_stride": (1, 2, 2),
        "temporal_kernels": (1, 1, 1, 1),
        "pool_after_res2": 2,
    },
    "motion": {
        "width": 8,
        "stem_kernel": (5, 7, 7),
        "stem_stride": (2, 2, 2),
        "temporal_kernels": (1, 1, 1, 1),
    },
}
# PySlowFast's non-local I3D and C2D, of depth 50 and more.
_NONLOCAL = {"nonlocal_blocks": ((), (1, 3), (1, 3, 5), ())}
PRESETS["i3d_nonlocal"] = {**PRESETS["i3d"], **_NONLOCAL}
PRESETS["c2d_nonlocal"] = {**PRESETS["c2d"], **_NONLOCAL}


@BACKBONE_REGISTRY.register()
class ResNet3D(Backbone):
    """A 3D ResNet with one pathway.

    Layers are named ``stem``, ``res2`` ... ``res5``. A stage is a sequence of blocks with ``conv_a``, ``norm_a``,
    ``conv_b``, ..., with ``shortcut`` where the shape changes, and with ``nonlocal_block`` where the block is followed
    by one.

    Args:
        depth: 18, 50 or 101.
        width: channels of the stem. The output has 32 times as many (8 times with depth 18).
        stem_kernel: (T, H, W), odd.
        stem_stride: (T, H, W).
        temporal_kernels: of the first convolution in each block, for res2 to res5: a size, or a list of sizes that
            repeats over the blocks of the stage.
        dilate_res5: use stride 1 and dilation 2 in res5, so that the output has 1/16 resolution.
        in_channels: of the clip.
        pool_after_res2: temporal size and stride of a max pool after res2; 1 means none.
        norm: "BN", "GN" or "none" (convolutions with biases).
        zero_init_final_norm: residual blocks start as the identity.
        lateral_channels: channels concatenated to the inputs of res2 to res5 (by :class:`SlowFast`, which calls the
            stages one by one).
        nonlocal_blocks: for res2 to res5 the indices of the blocks that are followed by a non-local block.
        nonlocal_kind, nonlocal_pool: ``kind`` and ``pool`` of
            :class:`~modist_det.modeling.backbone.blocks.NonLocalBlock`.

    Raises:
        UserError: an unknown depth, norm or kind, an even kernel, a wrong number of stages, or a non-local block after
            a block that does not exist.
    """

    untraced_keys = ("MODEL.RESNET3D.STEM_STRIDE", "MODEL.RESNET3D.POOL_AFTER_RES2")

    def __init__(
        self,
        depth: int = 50,
        width: int = 64,
        stem_kernel: Sequence[int] = (1, 7, 7),
        stem_stride: Sequence[int] = (1, 2, 2),
        temporal_kernels: TemporalKernels = (1, 1, 3, 3),
        dilate_res5: bool = False,
        in_channels: int = 3,
        pool_after_res2: int = 1,
        norm: str = "BN",
        zero_init_final_norm: bool = True,
        lateral_channels: Sequence[int] = (0, 0, 0, 0),
        nonlocal_blocks: Sequence[Sequence[int]] = ((), (), (), ()),
        nonlocal_kind: str = "softmax",
        nonlocal_pool: Sequence[int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        if depth not in STAGE_DEPTHS:
            raise UserError(
                f"there is no ResNet of depth {depth} (known: {', '.join(map(str, STAGE_DEPTHS))})"
            )
        for title, given in (("temporal kernels", temporal_kernels), ("non-local blocks", nonlocal_blocks)):
            if len(given) != 4:
                raise UserError(f"{title} are given for res2, res3, res4 and res5, not {given!r}")
        block: type[BottleneckBlock] | type[BasicBlock] = BasicBlock if depth == 18 else BottleneckBlock
        strides, dilations = (1, 2, 2, 2), (1, 1, 1, 1)
        if dilate_res5:
            strides, dilations = (1, 2, 2, 1), (1, 1, 1, 2)

        self.stem = Stem(in_channels, width, stem_kernel, stem_stride, norm)
        stages = []
        channels = width
        for i, blocks in enumerate(STAGE_DEPTHS[depth]):
            channels += lateral_channels[i]
            inner = width * 2**i
            stages.append(
                make_stage(
                    block, blocks, channels, inner, temporal_kernels[i], strides[i], dilations[i], norm
                )
            )
            channels = inner * block.expansion
            add_nonlocal_blocks(stages[i], channels, nonlocal_blocks[i], nonlocal_kind, nonlocal_pool, norm)
        self.res2, self.res3, self.res4, self.res5 = stages
        self.pool = nn.MaxPool3d((pool_after_res2, 1, 1)) if pool_after_res2 > 1 else nn.Identity()

        self.stage_channels = tuple(width * 2**i * block.expansion for i in range(4))
        self.out_channels = (channels,)
        self.temporal_strides = (stem_stride[0] * pool_after_res2,)
        self.spatial_stride = 16 if dilate_res5 else 32
        self.stage_strides = (4, 8, 16, self.spatial_stride)
        initialize(self)
        if zero_init_final_norm:
            zero_last_layers(self)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ResNet3D:
        """One of :data:`PRESETS` ("slow", "dense_slow", "i3d", "i3d_nonlocal", ...) with ``changes``.

        Example::

            ResNet3D.preset("dense_slow", dilate_res5=True)
        """
        if name not in PRESETS:
            raise UserError(f"there is no ResNet3D preset {name!r}{nearest(name, PRESETS)}")
        return cls(**{**PRESETS[name], **changes})

    @classmethod
    def from_config(cls, cfg: CfgNode) -> ResNet3D:
        """Built from ``cfg.MODEL.RESNET3D``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **section_arguments(cfg.MODEL.RESNET3D))

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        return {f"MODEL.RESNET3D.{key}": value for key, value in pathway_keys(tensors).items()}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        return "" if "stem.conv_xy.weight" in tensors else describe_pathway(tensors)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> [(B, ``out_channels[0]``, T', H', W')]."""
        x = self.pool(self.res2(self.stem(clip)))
        return [self.res5(self.res4(self.res3(x)))]

    def stages(self, clip: Tensor) -> Iterator[Tensor]:
        """The maps of res2 (before the pool behind it) to res5; see :class:`.base.HasStages`."""
        x = self.res2(self.stem(clip))
        yield x
        x = self.pool(x)
        for stage in (self.res3, self.res4, self.res5):
            x = stage(x)
            yield x


def pathway_keys(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Keys of ``MODEL.RESNET3D`` for the ResNet whose parameters' names begin with ``prefix``, as far as shapes tell;
    ``{}`` where it is none."""
    stem, kernels = kernel_shape(tensors, f"{prefix}stem.conv.weight"), stage_kernels(tensors, prefix)
    depth = _depth_of(kernels)
    if stem is None or depth is None:
        return {}
    return {
        "DEPTH": depth,
        "WIDTH": stem[0],
        "STEM_KERNEL": list(stem[2:]),
        "TEMPORAL_KERNELS": [pattern(stage) for stage in kernels],
        "NONLOCAL_BLOCKS": nonlocal_blocks(tensors, prefix),
    }


def describe_pathway(tensors: Mapping[str, Tensor], prefix: str = "") -> str:
    """The same in words, of any depth; ``""`` without a stem."""
    stem, stages = kernel_shape(tensors, f"{prefix}stem.conv.weight"), stage_kernels(tensors, prefix)
    if stem is None:
        return ""
    known = _depth_of(stages)
    depth = f"depth {known}" if known else f"{'+'.join(str(len(stage)) for stage in stages)} blocks"
    nonlocals = sum(map(len, nonlocal_blocks(tensors, prefix)))
    return (
        f"{depth}, width {stem[0]}, {stem[1]} input channels, stem kernel {'x'.join(map(str, stem[2:]))}, "
        f"temporal kernels {'/'.join(_shortened(kernels) for kernels in stages)}"
        + (f", {nonlocals} non-local blocks" if nonlocals else "")
    )


def _depth_of(stages: Sequence[Sequence[int]]) -> int | None:
    blocks = tuple(len(stage) for stage in stages)
    return next((depth for depth, counts in STAGE_DEPTHS.items() if counts == blocks), None)


def _shortened(kernels: Sequence[int]) -> str:
    """``1`` for a stage of one size, ``3+1+3+1`` otherwise."""
    if not kernels:
        return "none"
    return str(kernels[0]) if len(set(kernels)) == 1 else "+".join(map(str, kernels))
