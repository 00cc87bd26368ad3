"""What the mAP of tubes is lost to: classification, localization, time, duplicates, background and missed tubes.

As TIDE does for objects (Bolya et al., 2020): each kind of error is mended by itself, and the gain in mAP is its
share. The kinds of false positives are those of MultiSports' error analysis.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.tables import equal_pairs
from .matching import tube_overlaps
from .tube_ap import Comparison, compare_tubes

__all__ = ["ERROR_KINDS", "errors_of", "tube_errors"]

ERROR_KINDS = (
    "duplicate",
    "classification",
    "localization",
    "time",
    "time and localization",
    "background",
    "missed",
)

IntArray = NDArray[np.int64]


def tube_errors(
    groundtruth: Any,
    detections: Any,
    protocol: str = "recommended",
    threshold: float = 0.5,
    classes: Sequence[Hashable] | None = None,
) -> dict[str, Any]:
    """Shares of the mAP of tubes that are lost to each kind of error.

    A false positive is, in this order: a *duplicate* (it overlaps a found tube of its class enough), of the wrong
    *class* (it overlaps one of another class enough), or overlaps one of its class too little: because of its boxes
    (*localization*, the times overlap by at least the root of the threshold), because of its *time* (the boxes do),
    or both. Everything else is *background*. Ground truth that nobody finds is *missed*.

    To mend an error, the detection becomes right if the tube that it overlaps most is not found otherwise, and is
    removed if it is; duplicates and background are removed, and missed tubes leave the ground truth.

    Args:
        groundtruth, detections, protocol, classes: as for :func:`~modist_det.evaluation.video_map`.
        threshold: of the spatio-temporal overlap.

    Returns:
        ``mAP``; ``lost``: gain in mAP when a kind of error is mended, by :data:`ERROR_KINDS`; ``count``: errors of
        each kind. The gains do not add up to what is missing, since errors hide each other.
    """
    return errors_of(compare_tubes(groundtruth, detections, protocol, classes), threshold)


def errors_of(compared: Comparison, threshold: float) -> dict[str, Any]:
    """What :func:`tube_errors` returns, of tubes that have been compared."""
    rules, truth, found = compared.rules, compared.truth, compared.found
    finds = compared.finds(threshold)
    kind, target = _kinds(compared, finds, threshold)
    is_missed = np.ones(len(truth), bool)
    is_missed[finds[finds >= 0]] = False

    def mean_ap(label: IntArray, hits: NDArray[np.bool_], counts: IntArray) -> float:
        evaluated = [c for c in compared.evaluated if counts[c] or rules.every_class]
        order = np.argsort(compared.rank)
        label, hits = label[order], hits[order]
        values = [rules.average_precision(hits[label == c], int(counts[c])) for c in evaluated]
        return float(np.mean(values)) if values else 0.0

    base = mean_ap(found.label, finds >= 0, compared.counts)
    evaluated = np.isin(found.label, compared.evaluated)
    lost, count = {}, {}
    for name in ERROR_KINDS[:-1]:
        wrong = np.flatnonzero((kind == ERROR_KINDS.index(name)) & evaluated)
        label, hits, kept = found.label.copy(), finds >= 0, np.ones(len(found), bool)
        kept[wrong] = False
        # The best detection of those that come to the same missed tube becomes right.
        wrong = wrong[np.argsort(compared.rank[wrong])]
        wrong = wrong[(target[wrong] >= 0) & is_missed[target[wrong]]]
        wrong = wrong[np.unique(target[wrong], return_index=True)[1]]
        label[wrong], hits[wrong], kept[wrong] = truth.label[target[wrong]], True, True
        lost[name] = mean_ap(np.where(kept, label, -1), hits, compared.counts) - base
        count[name] = int(((kind == ERROR_KINDS.index(name)) & evaluated).sum())
    counts = np.bincount(truth.label[~is_missed], minlength=len(compared.names))
    lost["missed"] = max(mean_ap(found.label, finds >= 0, counts) - base, 0.0)
    count["missed"] = int((is_missed & np.isin(truth.label, compared.evaluated)).sum())
    return {"mAP": base, "lost": lost, "count": count}


def _kinds(compared: Comparison, finds: IntArray, threshold: float) -> tuple[IntArray, IntArray]:
    """Kind (n,) of each detection's error, -1 for none, and the ground truth (n,) that it belongs to, -1 for none."""
    truth, found = compared.truth, compared.found
    kind = np.where(finds >= 0, -1, ERROR_KINDS.index("background"))
    target = np.full(len(found), -1)
    i, j = equal_pairs(found.video, truth.video)
    overlaps = tube_overlaps(found, truth, i, j, compared.rules)
    total, root = np.nan_to_num(overlaps.total), np.sqrt(threshold)
    same = found.label[i] == truth.label[j]

    def best(mask: NDArray[np.bool_]) -> IntArray:
        """Of each detection with such pairs, the pair with the greatest overlap."""
        pairs = np.flatnonzero(mask & (kind[i] >= 0))
        pairs = pairs[np.lexsort((-total[pairs], i[pairs]))]
        return pairs[np.unique(i[pairs], return_index=True)[1]]

    # From the last kind to the first: an earlier one takes precedence.
    pairs = best(same & (total > 0) & (total < threshold))
    in_time, in_space = overlaps.time[pairs] >= root, overlaps.space[pairs] >= root
    names = np.select([in_time, in_space], ["localization", "time"], "time and localization")
    kind[i[pairs]] = [ERROR_KINDS.index(name) for name in names.tolist()]
    target[i[pairs]] = j[pairs]
    for name, mask in (("classification", ~same), ("duplicate", same)):
        pairs = best(mask & (total >= threshold))
        kind[i[pairs]] = ERROR_KINDS.index(name)
        target[i[pairs]] = j[pairs] if name == "classification" else -1
    return kind, target
