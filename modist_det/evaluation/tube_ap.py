"""Frame mAP and video mAP of action detections, in the protocols of the field (:mod:`.protocols`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import iou
from ..structures.keyframes import IntArray
from ..structures.tables import equal_pairs
from ..structures.tubes import Codes, TubeTable, read_tubes
from ..utils.errors import UserError
from ..utils.json_reading import malformed
from .matching import match_pairs, rank_by_score, suppressed, tube_overlaps
from .protocols import FRAME_RULES, TUBE_RULES, Rules, check_protocol, eleven_point

__all__ = [
    "RANGES",
    "Comparison",
    "Thresholds",
    "compare_frames",
    "compare_tubes",
    "frame_map",
    "nms_tubes",
    "video_map",
]

# Means over several thresholds, by name.
RANGES = {
    "0.5:0.95": tuple(0.5 + 0.05 * step for step in range(10)),
    "0.05:0.45": tuple(0.05 + 0.05 * step for step in range(9)),
    "0.1:0.9": tuple(0.1 + 0.1 * step for step in range(9)),
}

Thresholds = float | str | Sequence[float | str]
Result = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Detections beside ground truth, before a threshold is chosen.

    Attributes:
        truth, found: ground truth (m,) and detections (n,), with labels that index ``names``.
        names: classes.
        videos: names of the videos in either.
        found_pair, truth_pair: (p,), the pairs of one class that can match.
        overlap: (p,).
        rules: of the protocol.
    """

    truth: TubeTable
    found: TubeTable
    names: list[Hashable]
    videos: list[Hashable]
    found_pair: IntArray
    truth_pair: IntArray
    overlap: NDArray[np.float64]
    rules: Rules

    @cached_property
    def rank(self) -> IntArray:
        """Rank (n,) of each detection, the best first."""
        return rank_by_score(self.found.score)

    @property
    def counts(self) -> IntArray:
        """Ground truth of each class (C,)."""
        return np.bincount(self.truth.label, minlength=len(self.names))

    @property
    def evaluated(self) -> list[int]:
        """Indices of the classes that have an AP."""
        return [
            c
            for c, (name, count) in enumerate(zip(self.names, self.counts.tolist(), strict=True))
            if name not in self.rules.skipped and (count or self.rules.every_class)
        ]

    def finds(self, threshold: float) -> IntArray:
        """Ground truth (n,) that each detection finds, -1 for a false positive."""
        pairs = self.found_pair, self.truth_pair, self.overlap
        return match_pairs(*pairs, self.rank, threshold, self.rules.retry)

    def results(self, thresholds: Thresholds, *, with_eleven: bool = False) -> Result:
        """What :func:`frame_map` and :func:`video_map` return."""
        named = _names(thresholds)
        by_class = np.lexsort((self.rank, self.found.label))
        ends = np.cumsum(np.bincount(self.found.label, minlength=len(self.names)))[:-1]
        hits = {
            value: np.split((self.finds(value) >= 0)[by_class], ends)
            for values in named.values()
            for value in values
        }
        counts = self.counts.tolist()

        def per_class(
            rule: Callable[[NDArray[np.bool_], int], float], values: tuple[float, ...]
        ) -> list[Any]:
            evaluated = set(self.evaluated)
            return [
                float(np.mean([rule(hits[value][c], count) for value in values])) if c in evaluated else None
                for c, count in enumerate(counts)
            ]

        results: Result = {}
        for name, values in named.items():
            ap = per_class(self.rules.average_precision, values)
            known = [value for value in ap if value is not None]
            results[name] = {
                "mean": float(np.mean(known)) if known else None,
                "per_class": dict(zip(self.names, ap, strict=True)),
            }
            if with_eleven:
                eleven = per_class(eleven_point, values)
                results[name]["per_class_11_point"] = dict(zip(self.names, eleven, strict=True))
        return results


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
    compared = compare_frames(groundtruth, detections, protocol, classes, best_class)
    return compared.results(thresholds, with_eleven=protocol == "yowo")


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
    return compare_tubes(groundtruth, detections, protocol, classes).results(thresholds)


def compare_frames(
    groundtruth: Any,
    detections: Any,
    protocol: str = "recommended",
    classes: Sequence[Hashable] | None = None,
    best_class: bool | None = None,
) -> Comparison:
    """The first half of :func:`frame_map`, with the same arguments."""
    check_protocol(protocol)
    rules = FRAME_RULES[protocol]
    best = rules.best_class if best_class is None else best_class
    truth, found, names, videos = _read(groundtruth, detections, classes, best, rules)
    truth, found = truth.rows(), found.rows()
    frames, numbers = np.unique(np.concatenate([truth.frame, found.frame]), return_inverse=True)
    keys = [
        (table.video * len(frames) + number) * len(names) + table.label
        for table, number in ((truth, numbers[: len(truth)]), (found, numbers[len(truth) :]))
    ]
    i, j = equal_pairs(keys[1], keys[0])
    overlap = iou(found.boxes[i], truth.boxes[j], rules.extra).astype(np.float64, copy=False)
    return Comparison(truth, found, names, videos, i, j, overlap, rules)


def compare_tubes(
    groundtruth: Any,
    detections: Any,
    protocol: str = "recommended",
    classes: Sequence[Hashable] | None = None,
) -> Comparison:
    """The first half of :func:`video_map`, with the same arguments."""
    check_protocol(protocol)
    rules = TUBE_RULES[protocol]
    truth, found, names, videos = _read(groundtruth, detections, classes, False, rules)
    if rules.tube_nms is not None:
        found = found.take(~suppressed(found, rules.tube_nms, rules))
    keys = [table.video * len(names) + table.label for table in (truth, found)]
    i, j = equal_pairs(keys[1], keys[0])
    return Comparison(
        truth, found, names, videos, i, j, tube_overlaps(found, truth, i, j, rules).total, rules
    )


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
) -> tuple[TubeTable, TubeTable, list[Hashable], list[Hashable]]:
    """Ground truth, detections of evaluated classes, the names of their labels, and of the videos."""
    videos: Codes = {}
    codes: Codes = {}
    if classes is not None:
        with malformed("classes"):
            codes = {name: i for i, name in enumerate(classes)}
        if len(codes) < len(classes):
            raise UserError("classes: a name occurs twice")
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
    return tables[0], tables[1], names, list(videos)


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
