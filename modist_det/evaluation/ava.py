"""AVA's frame-mAP at IoU 0.5, vectorized in numpy.

Two modes:

``official``
    ActivityNet's evaluation of AVA. It uses the keyframes of the ground truth, the classes of the label map, and the
    50 detections with the highest scores of each keyframe, over all classes. That limit is specific to AVA: data with
    more people per frame needs another one, or none (``max_detections``).
``pyslowfast``
    PySlowFast's variant, for comparison with its published results. It has no limit, matches detections in the
    order of the file instead of by score, and counts detections in keyframes without ground truth as false
    positives.

Both skip excluded keyframes. Detected boxes without area, or inverted, are ignored (but count towards the limit);
ground-truth boxes without area count, but match nothing. A detection is compared with the ground-truth box of its class
and keyframe that it overlaps most; it is a true positive if the IoU is at least 0.5 and no earlier detection matched
that box, otherwise a false positive. AP is the area under the monotone precision-recall curve, and mAP its mean over
the classes with ground truth.

Equal scores: the two original evaluators use numpy's unstable sort, whose order depends on the machine. Here the order
is fixed: detections of a keyframe are matched in the order of the file; in the ranking over all keyframes (sorted by
first detection) the later detection comes first. This equals the original evaluators whenever their sort is stable.

Sources: https://research.google.com/ava/download.html; ActivityNet, ``Evaluation/get_ava_performance.py``; PySlowFast,
``slowfast/utils/ava_eval_helper.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ..formats.ava.classes import is_ava
from ..formats.ava.files import (
    BoxTable,
    KeyTable,
    LabelEntry,
    read_ava_boxes,
    read_detections,
    read_exclusions,
    read_label_map,
)
from ..formats.ava.tables import doubt_of_scores
from ..structures.keyframes import unpack_keyframes
from ..utils.errors import UserError, nearest
from ..video.listing import VIDEO_EXTENSIONS, extension
from .ava_rows import (
    MAX_PER_KEYFRAME,
    beyond,
    select_detections,
    select_groundtruth,
)
from .frame_ap import (
    IOU_THRESHOLD,
    Detections,
    GroundTruth,
    Indices,
    IntArray,
    average_precisions,
    choose,
    first_finds,
    run_starts,
)

__all__ = [
    "MAX_PER_KEYFRAME",
    "MODES",
    "AVAMatch",
    "class_table",
    "detection_limit",
    "evaluate_ava",
    "figures",
    "match_ava",
    "metrics",
]

MODES = ("official", "pyslowfast")
# AVA's label types and their usual names; other types keep their name.
_TYPE_NAMES = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}


def evaluate_ava(
    groundtruth: str | os.PathLike[str] | BoxTable,
    detections: str | os.PathLike[str] | BoxTable,
    labelmap: str | os.PathLike[str] | Mapping[int, LabelEntry],
    exclusions: str | os.PathLike[str] | KeyTable | None = None,
    mode: str = "official",
    max_detections: int = MAX_PER_KEYFRAME,
) -> dict[str, Any]:
    """Compute the frame-mAP at IoU 0.5 of scored action boxes.

    Args:
        groundtruth, detections, labelmap, exclusions: files in AVA's formats, or tables from the
            readers of :mod:`modist_det.formats.ava.files`.
        mode: ``"official"`` or ``"pyslowfast"``; see the module's docstring.
        max_detections: in the official mode, the number of detections that count per keyframe, over all classes; 0:
            all. :func:`detection_limit` chooses it by the classes.

    Returns:
        A dict of plain Python values, ready for JSON; undefined metrics are ``None``:

        - ``mAP``: in [0, 1]; ``mAP_by_type``: the mean over each label type of the map ("pose",
          "object", "person" for AVA's own; ``{}`` without label types);
        - ``classes``: one dict per class of the label map, by id: ``id``, ``name``, ``type``, ``AP``,
          ``num_groundtruth``, ``num_detections`` (that counted) and ``note``: the reason if there is
          no AP or it is 0, else "";
        - ``mode``, ``iou_threshold``, ``num_classes`` and, of these, ``num_classes_evaluated``;
        - ``num_keyframes`` (evaluated) and, of these, ``num_keyframes_with_detections``;
          ``max_detections`` per keyframe, 0 for no limit; ``num_groundtruth``,
          ``num_groundtruth_excluded`` (in excluded keyframes) and ``num_detections`` (that counted);
          ``num_detections_left_out``: number of ignored detections, by reason;
        - ``warnings``: messages about valid input that is probably a mistake.

    Raises:
        UserError: an unknown mode, a negative limit, or a file that is missing or malformed.
    """
    return metrics(match_ava(groundtruth, detections, labelmap, exclusions, mode, max_detections))


def detection_limit(class_names: Mapping[int, str], setting: int = -1) -> int:
    """Number of detections that count per keyframe: ``setting``, or if it is -1, 50 for AVA's classes and 0 (no limit)
    for other data.
    """
    if setting >= 0:
        return setting
    return MAX_PER_KEYFRAME if is_ava(class_names) else 0


@dataclass(frozen=True, eq=False)
class AVAMatch:
    """The boxes and detections that count in an evaluation, and their matches.

    Attributes:
        mode: mode of the evaluation.
        labels: classes by id.
        class_ids: (C,) ids in the label map, ascending; indexed by ``class_index``.
        truth: all ground-truth rows; indexed by ``boxes.row``.
        detected: all detections; indexed by ``counted.row``.
        boxes: the ground truth that counts.
        found: the detections that count without a limit, or, with AVA's classes, within it.
        finds_of_all: (n,) for each of ``found`` the index of its box in ``boxes``, -1 for a false positive.
        beyond: which of ``found`` are beyond the limit.
        finds_within: (n,) ``finds_of_all`` as it is with the limit; -1 for those beyond it.
        num_left_out: number of ignored detections, by reason.
        num_cut: (C,) detections of each class beyond ``max_detections``.
        max_detections: limit per keyframe; 0: none.
        exclusions: excluded keyframes.
        videos: names of the videos in ``boxes.keyframes``.
    """

    mode: str
    labels: Mapping[int, LabelEntry]
    class_ids: IntArray
    truth: BoxTable
    detected: BoxTable
    boxes: GroundTruth
    found: Detections
    finds_of_all: Indices
    beyond: IntArray
    finds_within: Indices
    num_left_out: dict[str, int]
    num_cut: IntArray
    max_detections: int
    exclusions: KeyTable | None
    videos: tuple[str, ...]

    @cached_property
    def counted(self) -> Detections:
        """The detections that count."""
        return self.found.take(self._is_within)

    @cached_property
    def finds(self) -> Indices:
        """(n,) for each of ``counted`` the index of its box in ``boxes``, -1 for a false positive."""
        return self.finds_within[self._is_within]

    @property
    def _is_within(self) -> NDArray[np.bool_]:
        is_within = np.ones(len(self.found.row), dtype=bool)
        is_within[self.beyond] = False
        return is_within

    def keyframe(self, number: int) -> tuple[str, float]:
        """Video and second (to six decimals) of a keyframe by its number in ``boxes.keyframes``."""
        video, second = unpack_keyframes(self.boxes.keyframes[number])
        return self.videos[video], float(second)


def match_ava(
    groundtruth: str | os.PathLike[str] | BoxTable,
    detections: str | os.PathLike[str] | BoxTable,
    labelmap: str | os.PathLike[str] | Mapping[int, LabelEntry],
    exclusions: str | os.PathLike[str] | KeyTable | None = None,
    mode: str = "official",
    max_detections: int = MAX_PER_KEYFRAME,
) -> AVAMatch:
    """First half of :func:`evaluate_ava`: match detections with ground truth."""
    if mode not in MODES:
        raise UserError(
            f"unknown AVA evaluation mode {mode!r}{nearest(mode, MODES)} (modes are {', '.join(MODES)})"
        )
    if max_detections < 0:
        raise UserError(f"max_detections is {max_detections}, but must be at least 0 (0: no limit)")
    limit = max_detections if mode == "official" else 0
    labels = read_label_map(labelmap) if isinstance(labelmap, (str, os.PathLike)) else labelmap
    truth = groundtruth if isinstance(groundtruth, BoxTable) else read_ava_boxes(groundtruth)
    detected = detections if isinstance(detections, BoxTable) else read_detections(detections)
    excluded = read_exclusions(exclusions) if isinstance(exclusions, (str, os.PathLike)) else exclusions

    class_ids = np.array(sorted(labels), dtype=np.int64)
    video_codes: dict[str, int] = {}
    excluded_keys = np.empty(0, np.int64) if excluded is None else np.unique(excluded.keys(video_codes))
    boxes = select_groundtruth(truth, video_codes, excluded_keys, class_ids)
    found, is_best, left_out, num_cut = select_detections(
        detected, video_codes, excluded_keys, boxes.keyframes, class_ids, mode, limit
    )
    if _names_ava(labels):  # the limit is part of the metric
        found, is_best = found.take(is_best), is_best[is_best]
    choice = choose(found, detected.boxes, boxes)
    score = found.score if mode == "official" else None
    finds_of_all = finds_within = first_finds(choice, score)
    beyond = np.flatnonzero(~is_best)
    if len(beyond):
        choice[beyond] = -1
        finds_within = first_finds(choice, score)
    return AVAMatch(
        mode,
        labels,
        class_ids,
        truth,
        detected,
        boxes,
        found,
        finds_of_all,
        beyond,
        finds_within,
        left_out,
        num_cut,
        limit,
        excluded,
        tuple(video_codes),
    )


def metrics(matched: AVAMatch) -> dict[str, Any]:
    """Second half of :func:`evaluate_ava`: the metrics of matched detections."""
    labels, boxes, found = matched.labels, matched.boxes, matched.found
    is_hit = matched.finds_of_all >= 0
    reduced = [(matched.beyond, matched.finds_within >= 0)] if len(matched.beyond) else []
    results = average_precisions(found, is_hit, boxes.counts, *reduced)
    (whole_ap, _), (ap, num_detections) = results[0], results[-1]
    # Detections are grouped by keyframe.
    starts = run_starts(found.keyframe)
    num_within = np.add.reduceat(matched._is_within, starts, dtype=np.int64)
    is_detected = (num_within > 0) & (found.keyframe[starts] >= 0)

    classes = [
        {
            "id": int(number),
            "name": labels[number].name,
            "type": _type_name(labels[number]),
            "AP": None if np.isnan(ap[c]) else float(ap[c]),
            "num_groundtruth": int(boxes.counts[c]),
            "num_detections": int(num_detections[c]),
            "note": _note(boxes.counts[c], boxes.excluded_counts[c], num_detections[c], matched.num_cut[c]),
        }
        for c, number in enumerate(matched.class_ids.tolist())
    ]
    types = dict.fromkeys(_type_name(entry) for entry in labels.values() if entry.type)
    result: dict[str, Any] = {
        "mAP": _mean(classes),
        "mAP_by_type": {name: _mean([c for c in classes if c["type"] == name]) for name in types},
        "mode": matched.mode,
        "iou_threshold": IOU_THRESHOLD,
        "max_detections": matched.max_detections,
        "num_classes": len(classes),
        "num_classes_evaluated": int((boxes.counts > 0).sum()),
        "num_keyframes": len(boxes.keyframes),
        "num_keyframes_with_detections": int(is_detected.sum()),
        "num_groundtruth": int(boxes.counts.sum()),
        "num_groundtruth_excluded": int(boxes.excluded_counts.sum()),
        "num_detections": int(num_detections.sum()),
        "num_detections_left_out": matched.num_left_out,
        "classes": classes,
    }
    result["warnings"] = _warnings(result, matched) + _limit_warning(matched, ap, whole_ap)
    return result


figures = metrics  # the name of earlier versions


def class_table(result: Mapping[str, Any]) -> str:
    """Format a result of :func:`evaluate_ava` as a table of classes with the means below."""
    rows = [
        (
            c["id"],
            c["name"],
            c["type"],
            _percent(c["AP"]),
            c["num_groundtruth"],
            c["num_detections"],
            c["note"],
        )
        for c in result["classes"]
    ]
    headers = ["id", "class", "type", "AP", "ground truth", "detections", "note"]
    align = ("right", "left", "left", "right", "right", "right", "left")
    table = tabulate(rows, headers=headers, colalign=align, disable_numparse=True)
    means = [(f"mAP of {name}", value) for name, value in result["mAP_by_type"].items()]
    means.append((f"mAP@{result['iou_threshold']:g} ({result['mode']})", result["mAP"]))
    lines = [f"{name}: {_percent(value)}" for name, value in means]
    lines.append(
        f"{result['num_classes_evaluated']} of {result['num_classes']} classes with ground truth, "
        f"{result['num_keyframes']} keyframes, {result['num_groundtruth']} boxes, "
        f"{result['num_detections']} detections"
    )
    if cut := result["num_detections_left_out"].get(beyond(result["max_detections"])):
        lines.append(
            f"{cut} more detections are beyond the {result['max_detections']} best of their keyframe and do not count"
        )
    return "\n".join([table, "", *lines])


# ---- messages ------------------------------------------------------------------------------------


def _type_name(entry: LabelEntry) -> str:
    return _TYPE_NAMES.get(entry.type, entry.type.lower())


def _note(num_groundtruth: int, num_excluded: int, num_detections: int, num_cut: int) -> str:
    if num_groundtruth:
        if num_cut and not num_detections:
            return f"none of {num_cut} detections is among the best of its keyframe"
        return "" if num_detections else "never detected"
    if num_excluded:
        return f"no AP: all {num_excluded} ground-truth boxes are in excluded keyframes"
    return "no AP: no ground truth in the evaluated keyframes"


def _mean(classes: list[dict[str, Any]]) -> float | None:
    values = [c["AP"] for c in classes if c["AP"] is not None]
    return float(np.mean(values)) if values else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _warnings(result: dict[str, Any], matched: AVAMatch) -> list[str]:
    truth, detected = matched.truth, matched.detected
    warnings = []
    if not result["num_groundtruth"]:
        excluded = result["num_groundtruth_excluded"]
        why = (
            f"all {excluded} boxes are in excluded keyframes"
            if excluded
            else "no box of a class in the label map"
        )
        warnings.append(f"{truth.path}: {why}, so there is no mAP")
    if not len(detected):
        warnings.append(f"{detected.path}: no detections")
    elif not result["num_keyframes_with_detections"]:
        warnings.append(
            f"{detected.path}: no counted detection is in a keyframe of the ground truth; the first is in "
            f"{_first_keyframe(detected)}, the ground truth begins with {_first_keyframe(truth)}"
        )
    if result["num_detections_left_out"]["box_without_area"]:
        count = result["num_detections_left_out"]["box_without_area"]
        warnings.append(f"{detected.path}: {count} boxes without area or inside out were not counted")
    is_known = np.isin(truth.action, matched.class_ids)
    if not is_known.all() and not _names_ava(matched.labels):
        numbers = np.unique(truth.action[~is_known]).tolist()
        warnings.append(
            f"{truth.path}: {(~is_known).sum()} boxes did not count, since the label map does not name their classes: "
            f"{', '.join(map(str, numbers[:5]))}{', ...' * (len(numbers) > 5)}"
        )
    for table in (detected, matched.exclusions):
        if table is not None and (other := _other_name(table.videos, truth.videos)):
            warnings.append(
                f"{table.path}: video {other[0]!r} is none of the ground truth, where it may be {other[1]!r}; rows of "
                "such videos did not count"
            )
    if doubt := doubt_of_scores(detected):
        warnings.append(doubt)
    return warnings


def _limit_warning(matched: AVAMatch, ap: NDArray[np.float64], whole_ap: NDArray[np.float64]) -> list[str]:
    """Warn if AVA's detection limit changes the AP of a class in data other than AVA."""
    if np.array_equal(ap, whole_ap, equal_nan=True):
        return []
    cut, limit = int(matched.num_cut.sum()), matched.max_detections
    means = [np.nanmean(values) for values in (ap, whole_ap)]
    return [
        f"{matched.detected.path}: {cut} detections did not count, since only the {limit} best of a keyframe do, over "
        f"all classes (AVA's limit is {MAX_PER_KEYFRAME}); they change the result: mAP {means[0]:.4f}, without the "
        f"limit {means[1]:.4f}. For data other than AVA lift it: --max-detections 0 (TEST.AVA.MAX_DETECTIONS 0)"
    ]


def _names_ava(labels: Mapping[int, LabelEntry]) -> bool:
    return is_ava({number: entry.name for number, entry in labels.items()})


def _other_name(names: Sequence[str], known: Sequence[str]) -> tuple[str, str] | None:
    """The first name that differs only in extension, case or spaces from an unused name in ``known``, and that name."""
    missing = {_plain(name): name for name in sorted(set(known) - set(names))}
    strangers = set(names) - set(known) if missing else set()
    return next(
        (
            (name, missing[plain])
            for name in names
            if name in strangers and (plain := _plain(name)) in missing
        ),
        None,
    )


def _plain(name: str) -> str:
    """A video name without extension, in lower case and without spaces, for comparison."""
    name = name.strip().casefold()
    ending = extension(name)
    return name.removesuffix(ending) if ending in VIDEO_EXTENSIONS else name


def _first_keyframe(table: BoxTable) -> str:
    return (table if len(table) else table.keyframes).name(0)
