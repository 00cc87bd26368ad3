"""Settings of the pipeline: intervals, thresholds, batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..utils.errors import UserError

__all__ = ["PipelineSettings"]


@dataclass(frozen=True)
class PipelineSettings:
    """Intervals of person detection and action prediction, and thresholds.

    Attributes:
        keyframe_every: seconds between keyframes, which are at multiples of it.
        detect_every: largest interval between two person detections, in seconds; keyframes always have one.
        smoothing: half-life, in seconds, of the weight with which a person's scores at other times count: in tubes
            all of them, at a keyframe those of the one before and the one after; 0: each keyframe stands alone.
        min_score: score that an action has to reach to be in a tube.
        keep_share: the action ends when its score falls below this share of ``min_score``.
        max_gap: seconds for which a track goes on without a detection; at least two and a half detection intervals.
        batch_size: keyframes in one forward pass.
        realtime: keep up with a live stream: frames do not wait for scores, and keyframes are dropped while the model
            is busy.
    """

    keyframe_every: float = 0.5
    detect_every: float = 0.2
    smoothing: float = 0.5
    min_score: float = 0.4
    keep_share: float = 0.5
    max_gap: float = 1.2
    batch_size: int = 1
    realtime: bool = False

    def __post_init__(self) -> None:
        for name in ("keyframe_every", "detect_every", "max_gap"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)} s, but must be above 0")
        if not 0 <= self.smoothing < math.inf:
            raise UserError(f"smoothing is {self.smoothing} s, but must be 0 or more")
        for name in ("min_score", "keep_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be from 0 to 1")
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}, but must be 1 or more")

    @property
    def searches_per_keyframe(self) -> int:
        """Number of person detections per keyframe."""
        return max(math.ceil(self.keyframe_every / self.detect_every - 1e-9), 1)

    @property
    def waits_for_next(self) -> bool:
        """Whether smoothing a keyframe's scores also uses those of the next one."""
        return self.smoothing > 0 and not self.realtime
