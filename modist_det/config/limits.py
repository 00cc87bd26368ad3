"""What a key takes beyond its type: the range of numbers, length and elements of lists.

Checked where a file or the command line sets the key, so that a run does not stop hours later, or worse goes on,
because of a batch size of 0 or a learning rate of NaN. Limits that involve two keys are checked where they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["find_fault"]


@dataclass(frozen=True)
class _Limit:
    """Finite numbers from ``low`` to ``high``, these included unless the end is open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value))

    def __str__(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {self.low:g}"
        high = f"{'below' if self.open_high else 'at most'} {self.high:g}"
        bounds = ((self.low, low), (self.high, high))
        return " and ".join(text for bound, text in bounds if math.isfinite(bound)) or "finite"


_FINITE = _Limit()
_NOT_NEGATIVE = _Limit(0)
_POSITIVE = _Limit(0, open_low=True)
_COUNT = _Limit(1)
_SHARE = _Limit(0, 1)
# Of a clip. Far above what anybody trains with, far below what takes all memory before the first batch.
_FRAMES = _Limit(1, 10_000)

# Of a list: each of its elements.
_LIMITS = {
    "SEED": _Limit(0, 2**63 - 1),
    "LOG_PERIOD": _COUNT,
    "PICTURE_PERIOD": _NOT_NEGATIVE,
    "DISTRIBUTED.RANK_TIMEOUT": _COUNT,
    "DISTRIBUTED.GROUP_TIMEOUT": _COUNT,
    "INPUT.NUM_FRAMES": _FRAMES,
    "INPUT.SAMPLING_RATE": _COUNT,
    "INPUT.TARGET_FPS": _POSITIVE,
    "INPUT.MIN_SIZE_TRAIN": _COUNT,
    "INPUT.MIN_SIZE_TEST": _COUNT,
    "INPUT.CROP_SIZE": _COUNT,
    "INPUT.RANDOM_FLIP": _SHARE,
    "INPUT.COLOR_JITTER.PROB": _SHARE,
    "INPUT.COLOR_JITTER.BRIGHTNESS": _NOT_NEGATIVE,
    "INPUT.COLOR_JITTER.CONTRAST": _NOT_NEGATIVE,
    "INPUT.COLOR_JITTER.SATURATION": _NOT_NEGATIVE,
    "INPUT.COLOR_JITTER.HUE": _Limit(0, 0.5),
    "INPUT.GRAYSCALE_PROB": _SHARE,
    "INPUT.BLUR_PROB": _SHARE,
    "INPUT.CLIP_SHIFT": _NOT_NEGATIVE,
    "INPUT.CROP_AREA": _Limit(0, 1, open_low=True),
    "INPUT.CROP_ASPECT": _POSITIVE,
    "INPUT.REPEATS": _COUNT,
    "INPUT.RAND_AUGMENT.NUM_OPS": _NOT_NEGATIVE,
    "INPUT.RAND_AUGMENT.MAGNITUDE": _Limit(0, 30),
    "INPUT.ERASE_PROB": _SHARE,
    "INPUT.MIX.PROB": _SHARE,
    "INPUT.MIX.MIXUP_ALPHA": _NOT_NEGATIVE,
    "INPUT.MIX.CUTMIX_ALPHA": _NOT_NEGATIVE,
    "MOTION.NUM_FRAMES": _FRAMES,
    "MOTION.GAP_SECONDS": _POSITIVE,
    "MOTION.SHORT_SIDE": _COUNT,
    "DATASETS.TRAIN_SHARE": _Limit(0, 1, open_low=True),
    "DATASETS.TRAIN_SHARE_SEED": _NOT_NEGATIVE,
    "DATALOADER.NUM_WORKERS": _Limit(0, 1000),
    "DATALOADER.PREFETCH_FACTOR": _Limit(1, 10_000),
    "DATALOADER.MAX_BAD_VIDEO_RATE": _SHARE,
    "DATALOADER.FRAME_CACHE_SIDE": _COUNT,
    "MODEL.NUM_CLASSES": _NOT_NEGATIVE,
    "MODEL.PIXEL_STD": _POSITIVE,
    "MODEL.RESNET3D.WIDTH": _COUNT,
    "MODEL.RESNET3D.STEM_KERNEL": _COUNT,
    "MODEL.RESNET3D.STEM_STRIDE": _COUNT,
    "MODEL.RESNET3D.TEMPORAL_KERNELS": _COUNT,
    "MODEL.RESNET3D.POOL_AFTER_RES2": _COUNT,
    "MODEL.RESNET3D.NONLOCAL_BLOCKS": _NOT_NEGATIVE,
    "MODEL.RESNET3D.NONLOCAL_POOL": _COUNT,
    "MODEL.MOTION_PATHWAY.WIDTH": _COUNT,
    "MODEL.MOTION_PATHWAY.STEM_KERNEL": _COUNT,
    "MODEL.MOTION_PATHWAY.STEM_STRIDE": _COUNT,
    "MODEL.MOTION_PATHWAY.TEMPORAL_KERNELS": _COUNT,
    "MODEL.MOTION_PATHWAY.POOL_AFTER_RES2": _COUNT,
    "MODEL.MOTION_PATHWAY.NONLOCAL_BLOCKS": _NOT_NEGATIVE,
    "MODEL.MOTION_PATHWAY.NONLOCAL_POOL": _COUNT,
    "MODEL.SLOWFAST.WIDTH": _COUNT,
    "MODEL.SLOWFAST.ALPHA": _COUNT,
    "MODEL.SLOWFAST.BETA_INV": _COUNT,
    "MODEL.SLOWFAST.FUSION_KERNEL": _COUNT,
    "MODEL.SLOWFAST.FUSION_RATIO": _COUNT,
    "MODEL.SLOWFAST.SLOW_TEMPORAL_KERNELS": _COUNT,
    "MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS": _COUNT,
    "MODEL.SLOWFAST.NONLOCAL_BLOCKS": _NOT_NEGATIVE,
    "MODEL.SLOWFAST.NONLOCAL_POOL": _COUNT,
    "MODEL.X3D.WIDTH_FACTOR": _POSITIVE,
    "MODEL.X3D.DEPTH_FACTOR": _POSITIVE,
    "MODEL.X3D.BOTTLENECK_FACTOR": _POSITIVE,
    "MODEL.X3D.STEM_CHANNELS": _COUNT,
    "MODEL.X3D.HEAD_CHANNELS": _COUNT,
    "MODEL.HEAD.DROPOUT": _SHARE,
    "MODEL.HEAD.ROI_RESOLUTION": _COUNT,
    "MODEL.HEAD.ROI_SAMPLING_RATIO": _NOT_NEGATIVE,
    "MODEL.HEAD.INIT_STD": _NOT_NEGATIVE,
    "MODEL.LOSS.WEIGHT": _NOT_NEGATIVE,
    "MODEL.LOSS.LABEL_SMOOTHING": _SHARE,
    **{
        f"MODEL.{method}.{key}": limit
        for method in ("MODIST", "BYOL", "SIMCLR")
        for key, limit in {
            "VISUAL_WEIGHT": _NOT_NEGATIVE,
            "CROSS_WEIGHT": _NOT_NEGATIVE,
            "MOTION_WEIGHT": _NOT_NEGATIVE,
            "DIM": _COUNT,
            "PROJECTION_HIDDEN": _COUNT,
            "PROJECTION_LAYERS": _COUNT,
        }.items()
    },
    "MODEL.MODIST.QUEUE_SIZE": _COUNT,
    "MODEL.MODIST.TEMPERATURE": _POSITIVE,
    "MODEL.MODIST.MOMENTUM": _SHARE,
    "MODEL.BYOL.PREDICTOR_HIDDEN": _COUNT,
    "MODEL.BYOL.MOMENTUM": _SHARE,
    "MODEL.SIMCLR.TEMPERATURE": _POSITIVE,
    "MODEL.EMA.DECAY": _SHARE,
    "SOLVER.IMS_PER_BATCH": _COUNT,
    "SOLVER.ACCUMULATION_STEPS": _COUNT,
    "SOLVER.MAX_EPOCH": _POSITIVE,
    "SOLVER.CHECKPOINT_PERIOD": _NOT_NEGATIVE,
    "SOLVER.CHECKPOINTS_KEPT": _NOT_NEGATIVE,
    "SOLVER.BASE_LR": _NOT_NEGATIVE,
    "SOLVER.COSINE_END_LR": _NOT_NEGATIVE,
    "SOLVER.WARMUP_EPOCHS": _NOT_NEGATIVE,
    "SOLVER.WARMUP_START_LR": _NOT_NEGATIVE,
    "SOLVER.STEPS": _NOT_NEGATIVE,
    "SOLVER.LRS": _NOT_NEGATIVE,
    "SOLVER.MOMENTUM": _SHARE,
    "SOLVER.LARS_TRUST": _POSITIVE,
    "SOLVER.BETAS": _Limit(0, 1, open_high=True),
    "SOLVER.WEIGHT_DECAY": _NOT_NEGATIVE,
    "SOLVER.WEIGHT_DECAY_NORM": _NOT_NEGATIVE,
    "SOLVER.WEIGHT_DECAY_BIAS": _NOT_NEGATIVE,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _POSITIVE,
    "TEST.BATCH_SIZE": _COUNT,
    "TEST.NUM_ENSEMBLE_VIEWS": _Limit(1, 1000),
    "TEST.NUM_SPATIAL_CROPS": _Limit(1, 3),
    "TEST.CLIPS_PER_FORWARD": _COUNT,
    "TEST.EVAL_PERIOD": _NOT_NEGATIVE,
    "TEST.FEATURES.NEIGHBOURS": _COUNT,
    "TEST.FEATURES.TEMPERATURE": _POSITIVE,
    "TEST.AVA.MAX_DETECTIONS": _Limit(-1, 1_000_000),
    "TEST.PRECISE_BN.NUM_ITER": _COUNT,
}


@dataclass(frozen=True)
class _List:
    """Elements of one type; ``length`` of them where it is given; ``nested``: an element may be a list of them;
    ``lists``: every element is a list of them, which may be empty; ``range``: the first is not above the last."""

    element: type
    length: int = 0
    nested: bool = False
    lists: bool = False
    range: bool = False

    def __str__(self) -> str:
        count = f"{self.length} " if self.length else ""
        if self.lists:
            return f"a list of {count}lists of {_ELEMENT_NAMES[self.element]}"
        kind = " or lists of them" if self.nested else ", the smaller one first" if self.range else ""
        return f"a list of {count}{_ELEMENT_NAMES[self.element]}{kind}"


_ELEMENT_NAMES = {str: "names", int: "whole numbers", float: "numbers"}
_KERNEL = _List(int, 3)
_STAGES = _List(int, 4, nested=True)
_STAGE_BLOCKS = _List(int, 4, lists=True)
_INTERVAL = _List(float, 2, range=True)

_LISTS = {
    "DATASETS.TRAIN": _List(str),
    "DATASETS.TEST": _List(str),
    "DATASETS.GALLERY": _List(str),
    "INPUT.MIN_SIZE_TRAIN": _List(int, 2, range=True),
    "INPUT.CLIP_SHIFT": _INTERVAL,
    "INPUT.CROP_AREA": _INTERVAL,
    "INPUT.CROP_ASPECT": _INTERVAL,
    "MODEL.MODIST.MOTION_MEAN": _List(float),
    "MODEL.BYOL.MOTION_MEAN": _List(float),
    "MODEL.SIMCLR.MOTION_MEAN": _List(float),
    "MODEL.PIXEL_MEAN": _List(float, 3),
    "MODEL.PIXEL_STD": _List(float, 3),
    "MODEL.RESNET3D.STEM_KERNEL": _KERNEL,
    "MODEL.RESNET3D.STEM_STRIDE": _KERNEL,
    "MODEL.RESNET3D.TEMPORAL_KERNELS": _STAGES,
    "MODEL.RESNET3D.NONLOCAL_BLOCKS": _STAGE_BLOCKS,
    "MODEL.RESNET3D.NONLOCAL_POOL": _KERNEL,
    "MODEL.MOTION_PATHWAY.STEM_KERNEL": _KERNEL,
    "MODEL.MOTION_PATHWAY.STEM_STRIDE": _KERNEL,
    "MODEL.MOTION_PATHWAY.TEMPORAL_KERNELS": _STAGES,
    "MODEL.MOTION_PATHWAY.NONLOCAL_BLOCKS": _STAGE_BLOCKS,
    "MODEL.MOTION_PATHWAY.NONLOCAL_POOL": _KERNEL,
    "MODEL.SLOWFAST.SLOW_TEMPORAL_KERNELS": _STAGES,
    "MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS": _STAGES,
    "MODEL.SLOWFAST.NONLOCAL_BLOCKS": _STAGE_BLOCKS,
    "MODEL.SLOWFAST.NONLOCAL_POOL": _KERNEL,
    "SOLVER.BETAS": _List(float, 2),
    "SOLVER.STEPS": _List(float),
    "SOLVER.LRS": _List(float),
}


def find_fault(key: str, value: Any) -> str:
    """What is wrong with ``value``, which has the type of ``key``, such as ``"must be above 0"``; ``""``: nothing.

    Every number is to be finite, also those of keys without limits.
    """
    if isinstance(value, list):
        wanted = _LISTS.get(key)
        if wanted is not None and not _fits(value, wanted):
            return f"takes {wanted}"
        return next(filter(None, (find_fault(key, element) for element in _numbers(value))), "")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    limit = _LIMITS.get(key, _FINITE)
    return "" if value in limit else f"must be {limit}"


def _fits(values: list, wanted: _List) -> bool:
    if wanted.length and len(values) != wanted.length:
        return False
    inner = _List(wanted.element)
    if wanted.lists:
        return all(isinstance(value, list) and _fits(value, inner) for value in values)
    for value in values:
        is_list = isinstance(value, list)
        if is_list and not (wanted.nested and value and _fits(value, inner)):
            return False
        if not is_list and (isinstance(value, bool) or not isinstance(value, _ACCEPTED[wanted.element])):
            return False
    return not wanted.range or values[0] <= values[-1]


_ACCEPTED: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def _numbers(values: list) -> list:
    """The elements of lists in lists, one after the other."""
    return [x for value in values for x in (_numbers(value) if isinstance(value, list) else [value])]
