"""Frame mAP and video mAP of action detections, in the protocols of the field (:mod:`.protocols`)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import iou
from ..structures.tubes import Codes, TubeTable, read_tubes
from ..utils.errors import UserError
from .matching import equal_pairs, match_pairs, rank_by_score, suppressed, tube_overlaps
from .protocols import FRAME_RULES, TUBE_RULES, Rules, check_protocol, eleven_point

__all__ = ["RANGES", "Thresholds", "frame_map", "nms_tubes", "video_map"]

# Means over several thresholds, by name.
RANGES = {
    "0.5:0.95": tuple(0.5 + 0.05 * step for step in range(10)),
    "0.05:0.45": tuple(0.05 + 0.05 * step for step in range(9)),
    "0.1:0.9": tuple(0.1 + 0.1 * step for step in range(9)),
}

Thresholds = float | str | Sequence[float | str]
Result = dict[str, dict[str, Any]]


def frame_map(
    groundtruth: Any,
    detections: Any,
    protocol: str = "recommended",
    thresholds: Thresholds = 0.5,
    classes: Sequence[Hashable] | None = None,
    best_class: bool | None = None,
) -> Result:
    """Mean average precision of boxes at single frames.

    All forms of :func:`~modist_det.structures.tubes.read_tubes` can be given; of tubes, each box counts. Boxes are
    final: no suppression is made here.

    Args:
        groundtruth: tubes, or boxes with ``video``, ``class``, ``frame``, ``box``.
        detections: boxes with ``video``, ``class``, ``frame``, ``box``, ``score``. All frames count: leave out those
            that are not annotated, if the dataset has such.
        protocol: "recommended", "act", "multisports" or "yowo"; "act" and "yowo" need boxes in pixels.
        thresholds: of the IoU; a number, a name of :data:`RANGES` such as ``"0.5:0.95"``, or several of them.
        classes: the evaluated classes, and what the entries of ``scores`` mean; default: all that occur.
        best_class: of boxes with ``scores``, only the class with the highest one is a detection; default: in
            "multisports" and "yowo".

    Returns:
        For each threshold, by its name (``"0.5"``): ``"mean"``, and ``"per_class"``: AP by class; None is undefined. In
        "yowo" also ``"per_class_11_point"``.

    Raises:
        UserError: an unknown protocol or threshold, or malformed boxes.
    """
    check_protocol(protocol)
    best = protocol in ("multisports", "yowo") if best_class is None else best_class
    rules = FRAME_RULES[protocol]
    truth, found, names = _read(groundtruth, detections, classes, best, rules)
    truth, found = truth.rows(), found.rows()
    keys = _frame_keys(truth, found, len(names))
    i, j = equal_pairs(keys[1], keys[0])
    overlap = iou(found.boxes[i], truth.boxes[j], rules.extra).astype(np.float64, copy=False)
    return _results(truth, found, names, i, j, overlap, rules, thresholds, protocol == "yowo")


def video_map(
    groundtruth: Any,
    detections: Any,
    protocol: str = "recommended",
    thresholds: Thresholds = (0.2, 0.5, 0.75, "0.5:0.95"),
    classes: Sequence[Hashable] | None = None,
) -> Result:
    """Mean average precision of tubes.

    Args:
        groundtruth: tubes with ``video``, ``class``, ``frames``, ``boxes``.
        detections: tubes with ``video``, ``class``, ``frames``, ``boxes``, ``score``, such as
            :func:`~modist_det.evaluation.link_detections` makes of frame detections.
        protocol: as for :func:`frame_map`; "act" and "yowo" first drop tubes that overlap a better one by more than
            0.3. Only "recommended" allows tubes with holes.
        thresholds: of the spatio-temporal overlap; as for :func:`frame_map`.
        classes: the evaluated classes; default: all that occur.

    Returns:
        As :func:`frame_map`.

    Raises:
        UserError: an unknown protocol or threshold, or malformed tubes.
    """
    check_protocol(protocol)
    rules = TUBE_RULES[protocol]
    truth, found, names = _read(groundtruth, detections, classes, False, rules)
    if rules.tube_nms is not None:
        found = found.take(~suppressed(found, rules.tube_nms, rules))
    i, j = equal_pairs(_video_keys(found, len(names)), _video_keys(truth, len(names)))
    overlap = tube_overlaps(found, truth, i, j, rules).total
    return _results(truth, found, names, i, j, overlap, rules, thresholds, False)


def nms_tubes(tubes: Sequence[Any], threshold: float = 0.3, protocol: str = "recommended") -> list[Any]:
    """Drop tubes that overlap a better one of their video and class by more than ``threshold``.

    Args:
        tubes: records with ``video``, ``class``, ``frames``, ``boxes``, ``score``.
        threshold: of the spatio-temporal overlap.
        protocol: how the overlap is computed.

    Returns:
        The kept records, in order.
    """
    check_protocol(protocol)
    dropped = suppressed(read_tubes(tubes, "tubes", {}, {}), threshold, TUBE_RULES[protocol])
    return [tube for tube, drop in zip(tubes, dropped.tolist(), strict=True) if not drop]


def _read(
    groundtruth: Any, detections: Any, classes: Sequence[Hashable] | None, best: bool, rules: Rules
) -> tuple[TubeTable, TubeTable, list[Hashable]]:
    """Ground truth, detections of evaluated classes, and the names of their labels."""
    videos: Codes = {}
    codes: Codes = {} if classes is None else {name: i for i, name in enumerate(classes)}
    truth = read_tubes(groundtruth, "ground truth", videos, codes, scored=False, class_names=classes)
    if classes is not None and len(codes) > len(classes):
        raise UserError(
            f"ground truth: class {list(codes)[len(classes)]!r} is none of the {len(classes)} classes"
        )
    found = read_tubes(detections, "detections", videos, codes, class_names=classes, best_class=best)
    for table in (truth, found):
        if table.boxes.shape[1] != 4:
            raise UserError("tubelets of several boxes have to be linked before they are evaluated")
        if rules.extra and len(table.boxes) and np.abs(table.boxes).max() <= 2:
            raise UserError(
                "boxes look like fractions of the image, but this protocol needs pixels: its IoU adds one to each side"
            )
    if classes is None:
        names = sorted(codes, key=lambda name: (str(type(name)), name))
    else:
        names = list(classes)
        found = found.take(found.label < len(names))
    new = np.empty(len(codes), np.int64)
    new[[codes[name] for name in names]] = np.arange(len(names))
    tables = [TubeTable(t.video, new[t.label], t.score, t.starts, t.frame, t.boxes) for t in (truth, found)]
    return tables[0], tables[1], names


def _video_keys(table: TubeTable, num_classes: int) -> NDArray[np.int64]:
    return table.video * num_classes + table.label


def _frame_keys(
    truth: TubeTable, found: TubeTable, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each box: boxes of one video, frame and class have the same."""
    frames, numbers = np.unique(np.concatenate([truth.frame, found.frame]), return_inverse=True)
    split = numbers[: len(truth)], numbers[len(truth) :]
    return tuple(  # type: ignore[return-value]
        (table.video * len(frames) + number) * num_classes + table.label
        for table, number in zip((truth, found), split, strict=True)
    )


def _names(thresholds: Thresholds) -> dict[str, tuple[float, ...]]:
    """The single thresholds behind each name."""
    several = [thresholds] if isinstance(thresholds, (int, float, str)) else list(thresholds)
    named = {}
    for entry in several:
        if isinstance(entry, str) and entry in RANGES:
            named[entry] = RANGES[entry]
            continue
        try:
            value = float(entry)
        except (TypeError, ValueError):
            value = -1.0
        if not 0 < value <= 1:
            raise UserError(f"threshold {entry!r} is no number in (0, 1] and none of {', '.join(RANGES)}")
        named[f"{value:g}"] = (value,)
    return named


def _results(
    truth: TubeTable,
    found: TubeTable,
    names: list[Hashable],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    overlap: NDArray[np.float64],
    rules: Rules,
    thresholds: Thresholds,
    with_eleven: bool,
) -> Result:
    named = _names(thresholds)
    counts = np.bincount(truth.label, minlength=len(names))
    rank = rank_by_score(found.score)
    by_class = np.lexsort((rank, found.label))
    ends = np.cumsum(np.bincount(found.label, minlength=len(names)))
    evaluated = [
        c for c, name in enumerate(names) if name not in rules.skipped and (counts[c] or rules.every_class)
    ]

    def of_threshold(threshold: float) -> list[NDArray[np.bool_]]:
        hits = (match_pairs(i, j, overlap, rank, threshold, rules.retry) >= 0)[by_class]
        return np.split(hits, ends[:-1]) if len(names) else []

    single = {value: of_threshold(value) for values in named.values() for value in values}
    results: Result = {}
    for name, values in named.items():
        ap = np.full(len(names), np.nan)
        for c in evaluated:
            ap[c] = np.mean([rules.average_precision(single[v][c], int(counts[c])) for v in values])
        result = {
            "mean": float(np.mean(ap[evaluated])) if evaluated else None,
            "per_class": {label: _value(ap[c]) for c, label in enumerate(names)},
        }
        if with_eleven:
            result["per_class_11_point"] = {
                label: float(np.mean([eleven_point(single[v][c], int(counts[c])) for v in values]))
                if c in evaluated
                else None
                for c, label in enumerate(names)
            }
        results[name] = result
    return results


def _value(ap: float) -> float | None:
    return None if np.isnan(ap) else float(ap)
