"""AVA's frame-mAP at IoU 0.5, with numpy alone and without a loop over keyframes or detections.

Two modes:

``official``
    ActivityNet's evaluation of AVA. Only keyframes of the ground truth and classes of the label map count, and
    of a keyframe the 50 detections with the best scores, over all classes. The limit is AVA's own: data with more
    people in a frame needs another one, or none (``max_detections``).
``pyslowfast``
    What PySlowFast computes, for comparing with its published figures. There is no such limit, detections are
    matched in the order of the file and not of their scores, and detections in keyframes without ground truth
    are false positives.

In both, keyframes named in the exclusions are left out. Detected boxes without area, or inside out, count for
nothing (but take a place among those that are kept). A detection belongs to the ground-truth box of its class and
keyframe that it overlaps most; it is a true positive if the IoU is at least 0.5 and no detection before it found that
box, else a false positive. AP is the area under the precision-recall curve made monotone, mAP its mean over
the classes that have ground truth.

Equal scores: the order that the two evaluators give them is that of numpy's unstable sort, which depends on the
machine. Here it is fixed: detections of a keyframe are matched in the order of the file; in the ranking over
all keyframes (which are in order of their first detection) the later one comes first. It is what those evaluators
do where the sort happens to be stable.

Sources: https://research.google.com/ava/download.html; ActivityNet, ``Evaluation/get_ava_performance.py``; PySlowFast,
``slowfast/utils/ava_eval_helper.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ..utils.ava_classes import is_ava
from ..utils.ava_files import (
    BoxTable,
    KeyTable,
    LabelEntry,
    read_ava_boxes,
    read_detections,
    read_exclusions,
    read_label_map,
)
from ..utils.errors import UserError, nearest
from .frame_ap import (
    IOU_THRESHOLD,
    Detections,
    GroundTruth,
    IntArray,
    average_precisions,
    match,
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
]

MODES = ("official", "pyslowfast")
MAX_PER_KEYFRAME = 50  # of the official metric
# A keyframe as one number: the video's, then the second in microseconds.
_SECOND_BITS = 40
_TICKS = 1_000_000
# AVA's label types and what people call them; other types keep their name.
_TYPE_NAMES = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}


def evaluate_ava(
    groundtruth: str | os.PathLike | BoxTable,
    detections: str | os.PathLike | BoxTable,
    labelmap: str | os.PathLike | Mapping[int, LabelEntry],
    exclusions: str | os.PathLike | KeyTable | None = None,
    mode: str = "official",
    max_detections: int = MAX_PER_KEYFRAME,
) -> dict[str, Any]:
    """Frame-mAP at IoU 0.5 of scored action boxes.

    Args:
        groundtruth, detections, labelmap, exclusions: files in AVA's formats, or what the readers of
            :mod:`modist_det.utils.ava_files` make of them.
        mode: ``"official"`` or ``"pyslowfast"``; see the module's text.
        max_detections: of the official mode: how many detections of a keyframe count, over all classes; 0: all.
            :func:`detection_limit` chooses it by the classes.

    Returns:
        A dict of plain Python values, ready for JSON; a figure that does not exist is ``None``:

        - ``mAP``: in [0, 1]; ``mAP_by_type``: the mean over each label type of the map ("pose",
          "object", "person" for AVA's own; ``{}`` for a map without types);
        - ``classes``: one dict a class of the label map, by id: ``id``, ``name``, ``type``, ``AP``,
          ``num_groundtruth``, ``num_detections`` (that counted) and ``note``: why there is no AP or why
          it is 0, else "";
        - ``mode``, ``iou_threshold``, ``num_classes`` and, of these, ``num_classes_evaluated``;
        - ``num_keyframes`` (evaluated) and, of these, ``num_keyframes_with_detections``;
          ``max_detections`` a keyframe, 0 for no limit; ``num_groundtruth``,
          ``num_groundtruth_excluded`` (in excluded keyframes) and ``num_detections`` (that counted);
          ``num_detections_left_out``: how many did not count, by reason;
        - ``warnings``: sentences about input that is allowed but unlikely to be meant.

    Raises:
        UserError: an unknown mode, a negative limit, or a file that is missing or malformed.
    """
    return figures(match_ava(groundtruth, detections, labelmap, exclusions, mode, max_detections))


def detection_limit(class_names: Mapping[int, str], setting: int = -1) -> int:
    """How many detections of a keyframe count, for data with these class names by id: AVA's 50 where they are AVA's, 0
    (no limit) for any other data; or ``setting``, unless that is -1.
    """
    if setting >= 0:
        return setting
    return MAX_PER_KEYFRAME if is_ava(class_names) else 0


@dataclass(frozen=True, eq=False)
class AVAMatch:
    """What counts in an evaluation, and which detection finds which ground-truth box.

    Attributes:
        mode: of the evaluation.
        labels: classes by id.
        class_ids: (C,) of the label map, ascending; a ``class_index`` points into it.
        truth: every ground-truth row; ``boxes.row`` points into it.
        detected: every detection; ``counted.row`` points into it.
        boxes: the ground truth that counts.
        counted: the detections that count.
        finds: (n,) of each counted detection: the number of the box in ``boxes``, -1 for a false positive.
        num_left_out: detections that do not count, by reason.
        num_cut: (C,) of each class, those beyond ``max_detections``.
        max_detections: that count in a keyframe; 0: all.
        exclusions: keyframes left out.
        videos: names that the keys in ``boxes.keyframes`` stand for.
    """

    mode: str
    labels: Mapping[int, LabelEntry]
    class_ids: IntArray
    truth: BoxTable
    detected: BoxTable
    boxes: GroundTruth
    counted: Detections
    finds: IntArray
    num_left_out: dict[str, int]
    num_cut: IntArray
    max_detections: int
    exclusions: KeyTable | None
    videos: tuple[str, ...]

    def keyframe(self, number: int) -> tuple[str, float]:
        """Video and second (to six decimals) of a keyframe by its number in ``boxes.keyframes``."""
        video, ticks = divmod(int(self.boxes.keyframes[number]), 1 << _SECOND_BITS)
        return self.videos[video], ticks / _TICKS


def match_ava(
    groundtruth: str | os.PathLike | BoxTable,
    detections: str | os.PathLike | BoxTable,
    labelmap: str | os.PathLike | Mapping[int, LabelEntry],
    exclusions: str | os.PathLike | KeyTable | None = None,
    mode: str = "official",
    max_detections: int = MAX_PER_KEYFRAME,
) -> AVAMatch:
    """The first half of :func:`evaluate_ava`, for those who want to know what was found and what was missed."""
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
    excluded_keys = (
        np.empty(0, dtype=np.int64) if excluded is None else np.unique(_keys(excluded, video_codes))
    )
    boxes = _select_groundtruth(truth, video_codes, excluded_keys, class_ids)
    counted, left_out, num_cut = _select_detections(
        detected, video_codes, excluded_keys, boxes.keyframes, class_ids, mode, limit
    )
    finds = match(counted, detected.boxes, boxes, by_score=mode == "official")
    return AVAMatch(
        mode,
        labels,
        class_ids,
        truth,
        detected,
        boxes,
        counted,
        finds,
        left_out,
        num_cut,
        limit,
        excluded,
        tuple(video_codes),
    )


def figures(matched: AVAMatch) -> dict[str, Any]:
    """The second half of :func:`evaluate_ava`."""
    labels, boxes, counted = matched.labels, matched.boxes, matched.counted
    ap, num_detections = average_precisions(counted, matched.finds >= 0, boxes.counts)
    # Detections are grouped by keyframe.
    keyframes_detected = counted.keyframe[run_starts(counted.keyframe)]

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
        "num_keyframes_with_detections": int((keyframes_detected >= 0).sum()),
        "num_groundtruth": int(boxes.counts.sum()),
        "num_groundtruth_excluded": int(boxes.excluded_counts.sum()),
        "num_detections": int(num_detections.sum()),
        "num_detections_left_out": matched.num_left_out,
        "classes": classes,
    }
    result["warnings"] = _warnings(result, matched.truth, matched.detected) + _limit_warning(matched, ap)
    return result


def class_table(result: Mapping[str, Any]) -> str:
    """The classes of a result of :func:`evaluate_ava` as a table, with the means below it."""
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
    if cut := result["num_detections_left_out"].get(_beyond(result["max_detections"])):
        lines.append(
            f"{cut} more detections did not count: beyond the {result['max_detections']} best of a keyframe"
        )
    return "\n".join([table, "", *lines])


# ---- which rows count -------------------------------------------------------------------------


def _keys(table: BoxTable | KeyTable, video_codes: dict[str, int], rows: IntArray | None = None) -> IntArray:
    """One number a row for video and second, equal to six decimals as in the official evaluator.

    ``rows``: only of these.
    """
    codes = [video_codes.setdefault(name, len(video_codes)) for name in table.videos]
    video, second = (c if rows is None else c[rows] for c in (table.video, table.second))
    return (np.array(codes, dtype=np.int64)[video] << _SECOND_BITS) | np.rint(second * _TICKS).astype(
        np.int64
    )


def _class_index(action: NDArray[np.int32], class_ids: IntArray) -> NDArray[np.integer]:
    """Position of each action in ``class_ids``, -1 for actions that are not among them."""
    lookup = np.full(class_ids[-1] + 2, -1, dtype=np.min_scalar_type(-len(class_ids)))
    lookup[class_ids] = np.arange(len(class_ids))
    return lookup[np.clip(action, 0, len(lookup) - 1)]


def _select_groundtruth(
    table: BoxTable, video_codes: dict[str, int], excluded: IntArray, class_ids: IntArray
) -> GroundTruth:
    keys = _keys(table, video_codes)
    everywhere = np.unique(np.concatenate([keys, _keys(table.keyframes, video_codes)]))
    keyframes = np.setdiff1d(everywhere, excluded, assume_unique=True)
    class_index = _class_index(table.action, class_ids)
    known = class_index >= 0
    inside = np.isin(keys, keyframes)
    counted = known & inside
    place = np.searchsorted(keyframes, keys[counted]) * len(class_ids) + class_index[counted]
    order = np.argsort(place, kind="stable")
    return GroundTruth(
        keyframes,
        place[order],
        np.flatnonzero(counted)[order],
        table.boxes[counted][order],
        np.bincount(class_index[counted], minlength=len(class_ids)),
        np.bincount(class_index[known & ~inside], minlength=len(class_ids)),
    )


def _select_detections(
    table: BoxTable,
    video_codes: dict[str, int],
    excluded: IntArray,
    keyframes: IntArray,
    class_ids: IntArray,
    mode: str,
    limit: int,
) -> tuple[Detections, dict[str, int], IntArray]:
    """The detections that count; by reason, how many do not; and those beyond ``limit`` (0: none) by class."""
    class_index = _class_index(table.action, class_ids)
    known = class_index >= 0
    # Rows of one keyframe follow each other in nearly every file: look up one of each run.
    moves = (table.video[1:] != table.video[:-1]) | (table.second[1:] != table.second[:-1])
    starts = np.concatenate([np.arange(min(len(table), 1)), np.flatnonzero(moves) + 1])
    lengths = np.diff(starts, append=len(table))
    num_known = np.diff(np.concatenate([[0], np.cumsum(known)])[np.append(starts, len(table))])
    keys = _keys(table, video_codes, starts)
    is_excluded = np.isin(keys, excluded)
    left_out = {
        "class_not_in_label_map": int((~known).sum()),
        "excluded_keyframe": int(num_known[is_excluded].sum()),
    }
    usable = ~is_excluded
    if mode == "official":
        in_truth = np.isin(keys, keyframes)
        left_out["no_such_keyframe_in_ground_truth"] = int(num_known[usable & ~in_truth].sum())
        usable &= in_truth

    # Number the keyframes by their first detection and group the rows by that.
    usable &= num_known > 0
    frame_keys, frame_of_run = _number_by_first(keys[usable])
    rows = np.flatnonzero(known & np.repeat(usable, lengths))
    frame = np.repeat(frame_of_run, num_known[usable])
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        rows, frame = rows[order], frame[order]

    score = table.score[rows]
    kept = _has_area(table.boxes)[rows]
    num_cut = np.zeros(len(class_ids), dtype=np.int64)
    if mode == "official":
        best = np.ones(len(rows), dtype=bool)
        if limit:
            best = _best_of_each(frame, score, table.action[rows], table.boxes, rows, limit)
        num_cut += np.bincount(class_index[rows[~best]], minlength=len(class_ids))
        left_out[_beyond(limit)] = int((~best).sum())
        left_out["box_without_area"] = int((best & ~kept).sum())
        kept &= best
    else:
        left_out["box_without_area"] = int((~kept).sum())
    place = np.searchsorted(keyframes, frame_keys)
    place[~np.isin(frame_keys, keyframes)] = -1
    counted = Detections(
        row=rows[kept],
        keyframe=place.astype(np.int32)[frame[kept]],
        class_index=class_index[rows[kept]],
        score=score[kept],
    )
    return counted, left_out, num_cut


def _number_by_first(keys: IntArray) -> tuple[IntArray, NDArray[np.int32]]:
    """The distinct keys in order of first occurrence, and the number of each of ``keys`` among them."""
    distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[inverse]


def _has_area(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])


def _best_of_each(
    frame: NDArray[np.int32],
    score: NDArray[np.float64],
    action: NDArray[np.int32],
    boxes: NDArray[np.float64],
    rows: IntArray,
    most: int,
) -> NDArray[np.bool_]:
    """Mask (n,) of the detections that the official evaluator keeps of each frame.

    ``frame`` (n,) is ascending from 0; the box of each detection is ``boxes[rows]``.

    It reads rows one by one into a heap of 50 (``most``) and replaces the least by a row with a higher score. Of rows
    that share the score of the 50th best, those stay that are among the first 50 not below that score, and of those the
    greatest by (action, y1, x1, y2, x2): higher scores that come later push the least out.
    """
    sizes = np.bincount(frame)
    starts = np.cumsum(sizes) - sizes
    # Frames of one size make a matrix, of which numpy finds the scores of the last that stay at once.
    threshold = np.full(len(sizes), -np.inf)
    for size in np.unique(sizes[sizes > most]).tolist():
        frames = np.flatnonzero(sizes == size)
        scores = score[starts[frames][:, None] + np.arange(size)]
        threshold[frames] = np.partition(scores, size - most, axis=1)[:, size - most]
    limit = threshold[frame]
    kept = score >= limit
    # Frames where several rows share the last place.
    crowded = np.bincount(frame[kept], minlength=len(sizes)) > most
    full = np.flatnonzero(kept & crowded[frame])
    tied = score[full] == limit[full]
    slots = most - np.bincount(frame[full[~tied]], minlength=len(sizes))
    kept[full[tied]] = False
    candidates = full[tied & (_rank_in_group(frame[full]) < most)]
    x1, y1, x2, y2 = boxes[rows[candidates]].T
    order = np.lexsort((-x2, -y2, -x1, -y1, -action[candidates], frame[candidates]))
    candidates = candidates[order]
    kept[candidates[_rank_in_group(frame[candidates]) < slots[frame[candidates]]]] = True
    return kept


def _rank_in_group(group: NDArray[np.int32]) -> IntArray:
    """Position of each row among the rows of its group; equal groups follow each other."""
    starts = run_starts(group)
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


# ---- words ------------------------------------------------------------------------------------


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


def _warnings(result: dict[str, Any], truth: BoxTable, detected: BoxTable) -> list[str]:
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
    return warnings


def _limit_warning(matched: AVAMatch, ap: NDArray[np.float64]) -> list[str]:
    """What AVA's limit does to data that is not AVA's: a sentence if it changes the AP of a class."""
    cut, limit = int(matched.num_cut.sum()), matched.max_detections
    if not cut or is_ava({number: entry.name for number, entry in matched.labels.items()}):
        return []  # with AVA's classes the limit is part of the metric
    whole = match_ava(
        matched.truth, matched.detected, matched.labels, matched.exclusions, matched.mode, max_detections=0
    )
    whole_ap, _ = average_precisions(whole.counted, whole.finds >= 0, whole.boxes.counts)
    if np.array_equal(ap, whole_ap, equal_nan=True):
        return []
    means = [np.nanmean(values) for values in (ap, whole_ap)]
    return [
        f"{matched.detected.path}: {cut} detections did not count, since only the {limit} best of a keyframe do, over "
        f"all classes (AVA's limit is {MAX_PER_KEYFRAME}); they change the result: mAP {means[0]:.4f}, without the "
        f"limit {means[1]:.4f}. For data other than AVA lift it: --max-detections 0 (TEST.AVA.MAX_DETECTIONS 0)"
    ]


def _beyond(limit: int) -> str:
    """The key of what a limit leaves out, in ``num_detections_left_out``."""
    return f"not_among_the_{limit or MAX_PER_KEYFRAME}_best"


def _first_keyframe(table: BoxTable) -> str:
    source = table if len(table) else table.keyframes
    return f"{source.videos[source.video[0]]},{source.second[0]:g}"
