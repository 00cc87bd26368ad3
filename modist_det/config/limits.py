"""What numbers a key takes beyond its type.

Checked where a file or the command line sets the key, so that a run does not stop hours later, or worse goes on,
because of a batch size of 0 or a learning rate of NaN. Limits that involve two keys are checked where they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["check_number"]


@dataclass(frozen=True)
class _Limit:
    """Finite numbers from ``low`` to ``high``; ``above``: without ``low`` itself."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        if math.isfinite(self.high):
            return f"from {self.low:g} to {self.high:g}"
        if math.isfinite(self.low):
            return f"{'above' if self.above else 'at least'} {self.low:g}"
        return "finite"


_FINITE = _Limit()
_NOT_NEGATIVE = _Limit(0)
_POSITIVE = _Limit(0, above=True)
_COUNT = _Limit(1)
_SHARE = _Limit(0, 1)

# Of a list: each of its elements.
_LIMITS = {
    "SEED": _Limit(0, 2**63 - 1),
    "LOG_PERIOD": _COUNT,
    "INPUT.NUM_FRAMES": _COUNT,
    "INPUT.SAMPLING_RATE": _COUNT,
    "INPUT.TARGET_FPS": _POSITIVE,
    "INPUT.MIN_SIZE_TRAIN": _COUNT,
    "INPUT.MIN_SIZE_TEST": _COUNT,
    "INPUT.CROP_SIZE": _COUNT,
    "INPUT.RANDOM_FLIP": _SHARE,
    "INPUT.COLOR_JITTER.PROB": _SHARE,
    "INPUT.COLOR_JITTER.BRIGHTNESS": _SHARE,
    "INPUT.COLOR_JITTER.CONTRAST": _SHARE,
    "INPUT.COLOR_JITTER.SATURATION": _SHARE,
    "INPUT.GRAYSCALE_PROB": _SHARE,
    "DATALOADER.NUM_WORKERS": _NOT_NEGATIVE,
    "DATALOADER.PREFETCH_FACTOR": _COUNT,
    "DATALOADER.MAX_BAD_VIDEO_RATE": _SHARE,
    "MODEL.NUM_CLASSES": _NOT_NEGATIVE,
    "MODEL.PIXEL_STD": _POSITIVE,
    "MODEL.RESNET3D.WIDTH": _COUNT,
    "MODEL.RESNET3D.STEM_KERNEL": _COUNT,
    "MODEL.RESNET3D.STEM_STRIDE": _COUNT,
    "MODEL.RESNET3D.TEMPORAL_KERNELS": _COUNT,
    "MODEL.RESNET3D.POOL_AFTER_RES2": _COUNT,
    "MODEL.MOTION_PATHWAY.WIDTH": _COUNT,
    "MODEL.MOTION_PATHWAY.STEM_KERNEL": _COUNT,
    "MODEL.MOTION_PATHWAY.STEM_STRIDE": _COUNT,
    "MODEL.MOTION_PATHWAY.TEMPORAL_KERNELS": _COUNT,
    "MODEL.MOTION_PATHWAY.POOL_AFTER_RES2": _COUNT,
    "MODEL.SLOWFAST.WIDTH": _COUNT,
    "MODEL.SLOWFAST.ALPHA": _COUNT,
    "MODEL.SLOWFAST.BETA_INV": _COUNT,
    "MODEL.SLOWFAST.FUSION_KERNEL": _COUNT,
    "MODEL.SLOWFAST.FUSION_RATIO": _COUNT,
    "MODEL.SLOWFAST.SLOW_TEMPORAL_KERNELS": _COUNT,
    "MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS": _COUNT,
    "MODEL.HEAD.DROPOUT": _SHARE,
    "MODEL.HEAD.ROI_RESOLUTION": _COUNT,
    "MODEL.HEAD.ROI_SAMPLING_RATIO": _NOT_NEGATIVE,
    "MODEL.HEAD.INIT_STD": _NOT_NEGATIVE,
    "MODEL.LOSS.WEIGHT": _NOT_NEGATIVE,
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
    "SOLVER.BETAS": _SHARE,
    "SOLVER.WEIGHT_DECAY": _NOT_NEGATIVE,
    "SOLVER.WEIGHT_DECAY_NORM": _NOT_NEGATIVE,
    "SOLVER.WEIGHT_DECAY_BIAS": _NOT_NEGATIVE,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _POSITIVE,
    "TEST.BATCH_SIZE": _COUNT,
    "TEST.EVAL_PERIOD": _NOT_NEGATIVE,
    "TEST.PRECISE_BN.NUM_ITER": _COUNT,
}


def check_number(key: str, value: Any) -> str:
    """Why ``value`` is outside the limits of ``key`` (every number is to be finite), or ``""``.

    Of a list, however nested, every number is looked at; values that are no numbers are nobody's concern here.
    """
    if isinstance(value, list):
        return next(filter(None, (check_number(key, element) for element in value)), "")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    limit = _LIMITS.get(key, _FINITE)
    return "" if value in limit else f"must be {limit}"
