"""From a person's scores over time to stretches in which an action is done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .results import ActionSegment, Scores

__all__ = ["find_segments"]


def find_segments(
    times: NDArray[np.float64],
    scores: Sequence[Scores],
    start: float,
    end: float,
    min_score: float,
    class_ids: Sequence[int],
) -> tuple[ActionSegment, ...]:
    """The longest runs of keyframes in which a class has at least ``min_score``, in order of start, then class.

    A keyframe stands for the time that is nearer to it than to its neighbours, inside of [start, end].

    Args:
        times: (S,), ascending.
        scores: S arrays (C,).
        start, end: of the tube.
        class_ids: C.
    """
    if not len(times):
        return ()
    table = np.stack(list(scores))
    middles = (times[1:] + times[:-1]) / 2
    bounds = np.clip(np.concatenate([[start], middles, [end]]), start, end)
    # Where runs begin and end: a change against a row of False before and after.
    done = np.pad(table >= min_score, ((1, 1), (0, 0))).astype(np.int8)
    changes = np.diff(done, axis=0)
    segments = []
    for column, number in enumerate(class_ids):
        begins, ends = np.flatnonzero(changes[:, column] == 1), np.flatnonzero(changes[:, column] == -1)
        for first, after in zip(begins.tolist(), ends.tolist(), strict=True):
            score = float(table[first:after, column].mean())
            segments.append(ActionSegment(int(number), float(bounds[first]), float(bounds[after]), score))
    return tuple(sorted(segments, key=lambda segment: (segment.start, segment.action)))
