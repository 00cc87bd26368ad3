"""From a person's scores over time to stretches in which an action is done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .results import ActionSegment, Scores

__all__ = ["find_segments", "smooth_scores"]


def smooth_scores(times: NDArray[np.float64], scores: Scores, half_life: float) -> Scores:
    """Means over time, in which a score's weight is halved every ``half_life`` seconds from the time asked for.

    Args:
        times: (S,), ascending.
        scores: (S, C).
        half_life: seconds; 0: nothing is done.
    """
    if half_life == 0 or len(times) < 2:
        return scores
    decay = 0.5 ** (np.diff(times) / half_life)
    # A column of ones is weighted along with the scores.
    rows = np.column_stack([scores, np.ones(len(scores))]).astype(np.float64)
    before, after = rows.copy(), rows.copy()
    for i in range(1, len(rows)):
        before[i] += decay[i - 1] * before[i - 1]
        after[-1 - i] += decay[-i] * after[-i]
    total = before + after - rows
    return (total[:, :-1] / total[:, -1:]).astype(np.float32)


def find_segments(
    times: NDArray[np.float64],
    scores: Scores,
    start: float,
    end: float,
    class_ids: Sequence[int],
    min_score: float,
    keep_score: float | None = None,
) -> tuple[ActionSegment, ...]:
    """The longest runs of keyframes in which a class has at least ``keep_score``, and ``min_score`` once.

    A keyframe stands for the time that is nearer to it than to its neighbours, inside of [start, end].

    Args:
        times: (S,), ascending.
        scores: (S, C).
        start, end: of the tube.
        class_ids: C.
        keep_score: default: ``min_score``.

    Returns:
        In order of start, then class; their scores are means over the run.
    """
    if not len(times):
        return ()
    middles = (times[1:] + times[:-1]) / 2
    bounds = np.clip(np.concatenate([[start], middles, [end]]), start, end)
    # Where runs begin and end: a change against a row of False before and after.
    done = np.pad(scores >= (min_score if keep_score is None else keep_score), ((1, 1), (0, 0)))
    changes = np.diff(done.astype(np.int8), axis=0)
    segments = []
    for column, number in enumerate(class_ids):
        begins, ends = np.flatnonzero(changes[:, column] == 1), np.flatnonzero(changes[:, column] == -1)
        for first, after in zip(begins.tolist(), ends.tolist(), strict=True):
            run = scores[first:after, column]
            if run.max() >= min_score:
                segments.append(
                    ActionSegment(int(number), float(bounds[first]), float(bounds[after]), float(run.mean()))
                )
    return tuple(sorted(segments, key=lambda segment: (segment.start, segment.action)))
