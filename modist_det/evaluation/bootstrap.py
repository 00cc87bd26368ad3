"""How certain a mAP is, and whether one result is better than another: resampling of videos.

Videos, not boxes, are drawn, since the boxes of a video resemble each other. A resample gives each video a weight
(how often it was drawn), and the AP of all resamples comes from one weighted precision-recall curve: detections are
matched and sorted once. Only hits are points of the curve; false positives between them are counted by a product of
matrices.

The significance of a difference does not come from the interval, but from exchanging the two results in random videos
(a permutation test): if they are equally good, that changes nothing, so its level is exact for any number of videos.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError
from .ava import AVAMatch
from .tube_ap import Comparison

__all__ = [
    "MIN_VIDEOS",
    "RankedHits",
    "ava_hits",
    "compare_hits",
    "holm",
    "interval_text",
    "map_interval",
    "tube_hits",
]

MIN_VIDEOS = 5  # with fewer, an interval says nothing
_CELLS = 1 << 22  # numbers of a matrix that is computed at once

Floats = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RankedHits:
    """The matched detections of one result.

    Attributes:
        names: names of the classes.
        videos: names of the videos.
        video, label: (n,), indices of each detection's video and class.
        score: (n,).
        hit: (n,), whether it is a true positive.
        counts: (V, C), ground truth of each video and class.
        monotone: whether AP is the area under the monotone curve; otherwise under the line through its points.
    """

    names: tuple[Hashable, ...]
    videos: tuple[Hashable, ...]
    video: IntArray
    label: IntArray
    score: Floats
    hit: NDArray[np.bool_]
    counts: IntArray
    monotone: bool = True


def tube_hits(compared: Comparison, threshold: float) -> RankedHits:
    """Of frames or tubes, at one threshold."""
    shape = (len(compared.videos), len(compared.names))
    counts = np.bincount(
        compared.truth.video * shape[1] + compared.truth.label, minlength=shape[0] * shape[1]
    ).reshape(shape)
    counts[:, [c for c in range(shape[1]) if c not in compared.evaluated]] = 0
    found = compared.found
    hit = compared.finds(threshold) >= 0
    names, videos, monotone = tuple(compared.names), tuple(compared.videos), compared.rules.monotone
    return RankedHits(names, videos, found.video, found.label, found.score, hit, counts, monotone)


def ava_hits(matched: AVAMatch) -> RankedHits:
    """Of an AVA evaluation."""
    numbers = {name: number for number, name in enumerate(matched.videos)}
    detected, truth, counted = matched.detected, matched.truth, matched.counted
    shape = (len(numbers), len(matched.class_ids))
    codes = [np.array([numbers[name] for name in table.videos] or [0]) for table in (detected, truth)]
    video = codes[1][truth.video[matched.boxes.row]]
    label = np.searchsorted(matched.class_ids, truth.action[matched.boxes.row])
    counts = np.bincount(video * shape[1] + label, minlength=shape[0] * shape[1]).reshape(shape)
    return RankedHits(
        tuple(matched.labels[number].name for number in matched.class_ids.tolist()),
        matched.videos,
        # AVA's metric ranks the later one of equal scores first.
        codes[0][detected.video[counted.row]][::-1],
        counted.class_index.astype(np.int64)[::-1],
        counted.score[::-1],
        (matched.finds >= 0)[::-1],
        counts,
    )


def _average_precisions(hits: RankedHits, weights: Floats, truth_weights: Floats) -> Floats:
    """AP (R, C) of R weightings (R, V) of the videos; NaN without ground truth."""
    ap = np.full((len(weights), len(hits.names)), np.nan)
    order = np.argsort(-hits.score, kind="stable")
    order = order[np.argsort(hits.label[order], kind="stable")]
    ends = np.cumsum(np.bincount(hits.label, minlength=len(hits.names)))
    for c in np.flatnonzero(hits.counts.sum(axis=0)).tolist():
        rows = order[ends[c - 1] if c else 0 : ends[c]]
        video, hit = hits.video[rows], hits.hit[rows]
        owner = video[hit]
        # Detections that come after the k-th hit, up to and with the next one, of each video.
        between: IntArray = np.cumsum(hit) - hit
        before = between < len(owner)
        places = video[before], between[before]
        total = truth_weights @ hits.counts[:, c].astype(float)
        step = max(_CELLS // max(len(owner), 1), 1)
        for start in range(0, len(weights), step):
            part = weights[start : start + step]
            share = part[:, owner]
            found, ranked = share.cumsum(axis=1), _weighted_counts(part, *places, len(owner)).cumsum(axis=1)
            precision = found / np.maximum(ranked, 1e-12)
            if hits.monotone:
                area = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            else:
                area = (precision + _before(found, ranked, share)) / 2
            with np.errstate(invalid="ignore", divide="ignore"):
                ap[start : start + step, c] = (share * area).sum(axis=1) / total[start : start + step]
    return ap


def _weighted_counts(weights: Floats, video: IntArray, column: IntArray, num_columns: int) -> Floats:
    """Weighted number (R, num_columns) of the entries of each ascending ``column``."""
    num_videos = weights.shape[1]
    width = max(_CELLS // num_videos, 1)
    parts = [np.zeros((len(weights), 0))]
    for start in range(0, num_columns, width):
        rows = slice(*np.searchsorted(column, [start, start + width]))
        size = min(width, num_columns - start)
        table = np.bincount(video[rows] * size + column[rows] - start, minlength=num_videos * size)
        parts.append(weights @ table.reshape(num_videos, size).astype(float))
    return np.concatenate(parts, axis=1)


def _before(found: Floats, ranked: Floats, share: Floats) -> Floats:
    """Precision just before each hit; 1 before the first detection."""
    rest = ranked - share
    return np.where(rest > 0, (found - share) / np.maximum(rest, 1e-12), 1.0)


def _draws(num_videos: int, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_videos, np.full(num_videos, 1 / num_videos), resamples).astype(float)


def _mean(ap: Floats) -> Floats:
    """Mean (R,) over the classes that have an AP."""
    known = ~np.isnan(ap)
    return np.where(known, ap, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _interval(values: Floats, estimate: float, level: float, num_videos: int) -> tuple[float, float]:
    """Quantiles of resampled ``values`` around the estimate.

    The monotone curve makes AP of resamples a little too high on average, since a video that is drawn twice adds
    nothing new; so the quantiles are moved from the mean of the resamples to the estimate. They are widened as
    Student's t is wider than the normal distribution, and by the ratio of the standard deviations of a sample and of
    its resamples.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    z, freedom = NormalDist().inv_cdf((1 + level) / 2), num_videos - 1
    wider = (1 + (z**2 + 1) / (4 * freedom)) * np.sqrt(num_videos / freedom)
    low, high = wider * np.quantile(values - values.mean(), [(1 - level) / 2, (1 + level) / 2])
    return float(estimate + low), float(estimate + high)


def map_interval(
    hits: RankedHits, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Any] | None:
    """Confidence interval of a mAP, and of the AP of each class, from ``resamples`` draws of the videos.

    Returns:
        ``mean``, ``low``, ``high``, ``level``, ``videos``, and ``per_class``: ``(AP, low, high)`` by name for the
        classes with ground truth. None with fewer than :data:`MIN_VIDEOS` videos, or without ground truth.
    """
    num_videos = len(hits.videos)
    if num_videos < MIN_VIDEOS or not hits.counts.any():
        return None
    whole = _average_precisions(hits, *[np.ones((1, num_videos))] * 2)
    drawn = _average_precisions(hits, *[_draws(num_videos, resamples, seed)] * 2)
    mean = float(_mean(whole)[0])
    low, high = _interval(_mean(drawn), mean, level, num_videos)
    per_class = {
        name: (float(whole[0, c]), *_interval(drawn[:, c], whole[0, c], level, num_videos))
        for c, name in enumerate(hits.names)
        if not np.isnan(whole[0, c])
    }
    return {
        "mean": mean,
        "low": max(low, 0.0),
        "high": min(high, 1.0),
        "level": level,
        "videos": num_videos,
        "per_class": per_class,
    }


def interval_text(interval: dict[str, Any] | None) -> str:
    """A line for the end of a table."""
    if interval is None:
        return f"no confidence interval: it needs at least {MIN_VIDEOS} videos with ground truth"
    share = f"{100 * interval['level']:g} %"
    return f"{share} interval of the mAP: {interval['low']:.4f} to {interval['high']:.4f} ({interval['videos']} videos)"


def compare_hits(
    a: RankedHits, b: RankedHits, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Difference ``b - a`` of two results on the same ground truth, paired by video.

    Returns:
        ``a``, ``b``: the mAPs; ``difference``, ``low``, ``high``: of the mAP, with its confidence interval; ``p``:
        probability of a difference at least this great between equally good results; ``classes``: the same by class
        name, and
        ``p_corrected``, which takes into account that there are many classes (Holm).

    Raises:
        UserError: the ground truth differs, or there are fewer than :data:`MIN_VIDEOS` videos.
    """
    if a.names != b.names:
        raise UserError("the two results have different classes")
    numbers = {name: i for i, name in enumerate(dict.fromkeys([*a.videos, *b.videos]))}
    a, b = _renumbered(a, numbers), _renumbered(b, numbers)
    num_videos = len(numbers)
    if not np.array_equal(a.counts, b.counts):
        raise UserError("the two results were evaluated on different ground truth")
    if num_videos < MIN_VIDEOS:
        raise UserError(f"a comparison needs at least {MIN_VIDEOS} videos, but there are {num_videos}")
    every = np.ones((1, num_videos))
    whole = [_with_mean(_average_precisions(hits, every, every)) for hits in (a, b)]
    drawn = _draws(num_videos, resamples, seed)
    differences = _with_mean(_average_precisions(b, drawn, drawn)) - _with_mean(
        _average_precisions(a, drawn, drawn)
    )
    difference = (whole[1] - whole[0])[0]
    p = _exchange_test(a, b, difference, resamples, seed)
    rows = [
        {
            "a": float(whole[0][0, c]),
            "b": float(whole[1][0, c]),
            "difference": float(difference[c]),
            **dict(
                zip(
                    ("low", "high"),
                    _interval(differences[:, c], difference[c], level, num_videos),
                    strict=True,
                )
            ),
            "p": float(p[c]),
        }
        for c in range(len(difference))
    ]
    known = [c for c in range(len(a.names)) if not np.isnan(difference[c + 1])]
    corrected = holm(np.array([p[c + 1] for c in known]))
    classes = {
        a.names[c]: {**rows[c + 1], "p_corrected": float(value)}
        for c, value in zip(known, corrected, strict=True)
    }
    return {**rows[0], "level": level, "videos": num_videos, "classes": classes}


def _with_mean(ap: Floats) -> Floats:
    """AP (R, C) with the mean as the first column."""
    return np.column_stack([_mean(ap), ap])


def _renumbered(hits: RankedHits, numbers: dict[Hashable, int]) -> RankedHits:
    new = np.array([numbers[name] for name in hits.videos])
    counts = np.zeros((len(numbers), len(hits.names)), np.int64)
    counts[new] = hits.counts
    return RankedHits(
        hits.names, tuple(numbers), new[hits.video], hits.label, hits.score, hits.hit, counts, hits.monotone
    )


def _exchange_test(a: RankedHits, b: RankedHits, difference: Floats, resamples: int, seed: int) -> Floats:
    """p (1 + C,): share of random exchanges of the results of videos with a difference at least as great."""
    num_videos = len(a.videos)
    # Videos of b come after those of a; only one of the two has weight.
    both = RankedHits(
        a.names,
        a.videos,
        np.concatenate([a.video, b.video + num_videos]),
        np.concatenate([a.label, b.label]),
        np.concatenate([a.score, b.score]),
        np.concatenate([a.hit, b.hit]),
        a.counts,
        a.monotone,
    )
    swap = np.random.default_rng([seed, 1]).integers(0, 2, (resamples, num_videos)).astype(float)
    every = np.ones_like(swap)
    first = _with_mean(_average_precisions(both, np.hstack([1 - swap, swap]), every))
    second = _with_mean(_average_precisions(both, np.hstack([swap, 1 - swap]), every))
    greater = np.abs(second - first) >= np.abs(difference) - 1e-12
    return (greater.sum(axis=0) + 1) / (resamples + 1)


def holm(p: Floats) -> Floats:
    """p-values (n,) corrected for their number by Holm's method."""
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(scaled, 1)
    return corrected
