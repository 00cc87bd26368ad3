"""Temporal smoothing of scores with weights that decay exponentially."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import KeyframeActions, Scores

__all__ = ["ScoreSmoother", "smooth_scores"]


def smooth_scores(times: NDArray[np.float64], scores: Scores, half_life: float) -> Scores:
    """Weighted means over time; weights halve with every ``half_life`` seconds of distance.

    Args:
        times: (S,), ascending.
        scores: (S, C).
        half_life: seconds; 0: no smoothing.
    """
    if half_life == 0 or len(times) < 2:
        return scores
    decay = 0.5 ** (np.diff(times) / half_life)
    # The column of ones sums the weights.
    rows = np.column_stack([scores, np.ones(len(scores))]).astype(np.float64)
    before, after = rows.copy(), rows.copy()
    for i in range(1, len(rows)):
        before[i] += decay[i - 1] * before[i - 1]
        after[-1 - i] += decay[-i] * after[-i]
    total = before + after - rows
    return (total[:, :-1] / total[:, -1:]).astype(np.float32)


class ScoreSmoother:
    """Averages each track's scores at a keyframe with those at the previous and optionally the next keyframe.

    Args:
        half_life: see :func:`smooth_scores`; 0: no smoothing.
        waits: delay each keyframe until the next one, and use its scores as well.
    """

    def __init__(self, half_life: float, waits: bool) -> None:
        self.half_life = half_life
        self.waits = waits
        self.waiting: KeyframeActions | None = None
        self._before: KeyframeActions | None = None

    def add(self, keyframe: KeyframeActions) -> list[KeyframeActions]:
        """Add the next keyframe; returns the keyframe that is smoothed now: this one, or the one that waited for it."""
        if not self.waits:
            self.waiting = keyframe
            return self.finish()
        smoothed = self.finish(keyframe)
        self.waiting = keyframe
        return smoothed

    def finish(self, after: KeyframeActions | None = None) -> list[KeyframeActions]:
        """Smooth and return the keyframe that is still waiting, if any."""
        keyframe, self.waiting = self.waiting, None
        if keyframe is None:
            return []
        neighbours = [other for other in (self._before, keyframe, after) if other is not None]
        self._before = keyframe
        if self.half_life == 0 or not len(keyframe):
            return [keyframe]
        rows = [self._mean(track, keyframe, neighbours) for track in keyframe.track_ids]
        return [replace(keyframe, scores=np.stack(rows))]

    def _mean(self, track: np.int64, keyframe: KeyframeActions, neighbours: list[KeyframeActions]) -> Scores:
        total, weights = np.zeros(keyframe.scores.shape[1]), 0.0
        for other in neighbours:
            for scores in other.scores[other.track_ids == track]:
                weight = 0.5 ** (abs(other.second - keyframe.second) / self.half_life)
                total += weight * scores
                weights += weight
        return (total / weights).astype(np.float32)
