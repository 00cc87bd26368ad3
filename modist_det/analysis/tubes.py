"""Evaluate tubes: precision and recall against ground truth that is known at all times.

Two measures. *Tubes*: an action of a person counts as found if one of the same class overlaps it with a
spatio-temporal IoU of at least 0.5 (IoU of the times, times the mean IoU of the boxes where both are). *Time*: at
moments 0.1 s apart, an action of a person counts as found if it is also predicted for a box with an IoU of at
least 0.5. And for poses, of which a person has one at a time: how often the best one is right.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..inference.results import VideoActions
from ..puppets.labels import CLASS_IDS, CLASS_NAMES, POSES
from ..puppets.tracks import convert_tracks
from ..structures.actions import ActionTube
from ..structures.boxes import iou, iou_matrix
from ..utils.errors import UserError
from ..utils.json_reading import read_json

__all__ = ["ActionTube", "best_poses", "evaluate_tubes", "read_puppets_tracks", "tubes_of_result"]

_STEP = 0.1  # seconds between the compared moments


def tubes_of_result(found: VideoActions) -> list[ActionTube]:
    """The actions of a result file."""
    return [part for tube in found.tubes for part in tube.action_tubes()]


def read_puppets_tracks(path: str | os.PathLike) -> dict[str, list[ActionTube]]:
    """The ground truth of generated videos, by video, from ``tracks_<split>.json``.

    Stretches that follow each other with the same action are one; one ends where its person is not to be seen.

    Raises:
        UserError: the file is missing or of another kind.
    """
    return convert_tracks(read_json(path), path, lambda video: list(_truth(video)))


def _truth(video: Mapping[str, Any]) -> Iterator[ActionTube]:
    size = np.array([video["width"], video["height"]] * 2, np.float32)
    times = np.arange(video["num_frames"]) / video["fps"]
    for person in video["people"]:
        there = np.array([box is not None for box in person["boxes"]])
        doing = np.zeros((len(CLASS_NAMES), len(times)), bool)
        start = 0.0
        for segment in person["segments"]:
            inside = (times >= start) & (times < segment["end"])
            doing[np.array(segment["actions"], int) - 1] |= inside
            start = segment["end"]
        for row, active in enumerate(doing & there):
            changes = np.diff(np.pad(active, 1).astype(np.int8))
            for first, after in zip(np.flatnonzero(changes == 1), np.flatnonzero(changes == -1), strict=True):
                boxes = (np.array(person["boxes"][first:after], np.float32) / size).clip(0, 1)
                yield ActionTube(
                    row + 1, float(times[first]), float(times[after - 1]), times[first:after], boxes
                )


def evaluate_tubes(
    truth: Mapping[str, Sequence[ActionTube]],
    found: Mapping[str, Sequence[ActionTube]],
    min_iou: float = 0.5,
    min_seconds: float = 0.3,
) -> dict[str, float]:
    """Precision and recall of tubes and of moments over all videos of ``found``.

    Args:
        min_iou: of tubes, and of boxes at a moment.
        min_seconds: true tubes that are shorter, of people who are leaving the frame, need not be found.

    Returns:
        ``tube_precision``, ``tube_recall``, ``time_precision``, ``time_recall``: shares, NaN of nothing; ``tubes``,
        ``true_tubes``, ``seconds`` and ``true_seconds`` (person-actions times their length): how much there was.

    Raises:
        UserError: a video of ``found`` is not in ``truth``.
    """
    unknown = sorted(set(found) - set(truth))
    if unknown:
        raise UserError(
            f"there is no truth for video {unknown[0]}; it is known for {', '.join(sorted(truth)[:5])}"
        )
    tubes = np.zeros(3)  # found, true, both
    moments = np.zeros(3)
    for video, claimed in found.items():
        real = [tube for tube in truth[video] if tube.end - tube.start >= min_seconds]
        tubes += (len(claimed), len(real), _matched_tubes(real, claimed, min_iou))
        moments += _matched_moments(truth[video], claimed, min_iou)
    return {
        "tube_precision": _share(tubes[2], tubes[0]),
        "tube_recall": _share(tubes[2], tubes[1]),
        "time_precision": _share(moments[2], moments[0]),
        "time_recall": _share(moments[2], moments[1]),
        "tubes": int(tubes[0]),
        "true_tubes": int(tubes[1]),
        "seconds": float(moments[0] * _STEP),
        "true_seconds": float(moments[1] * _STEP),
    }


def best_poses(
    truth: Sequence[ActionTube], found: VideoActions, min_iou: float = 0.5
) -> dict[int, list[bool]]:
    """Whether the pose with the best score is the true one, at each keyframe of each track of a generated video.

    People whose box has an IoU below ``min_iou`` with everybody who does a pose then are left out.
    """
    poses = [CLASS_IDS[name] for name in POSES]
    columns = [list(found.header.class_names).index(number) for number in poses]
    right: dict[int, list[bool]] = {}
    for keyframe in found.keyframes:
        real = [t for t in truth if t.action in poses and t.start <= keyframe.second <= t.end]
        if not real or not len(keyframe):
            continue
        overlaps = iou_matrix(keyframe.boxes, np.stack([t.box_at(keyframe.second) for t in real]))
        best = np.array(poses)[keyframe.scores[:, columns].argmax(axis=1)]
        for row in np.flatnonzero(overlaps.max(axis=1) >= min_iou).tolist():
            correct = bool(best[row] == real[int(overlaps[row].argmax())].action)
            right.setdefault(int(keyframe.track_ids[row]), []).append(correct)
    return right


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def tube_iou(a: ActionTube, b: ActionTube) -> float:
    """Spatio-temporal IoU."""
    start, end = max(a.start, b.start), min(a.end, b.end)
    union = max(a.end, b.end) - min(a.start, b.start)
    if end <= start or union <= 0:
        return 0.0
    seconds = np.arange(start, end + 1e-9, _STEP / 2)
    boxes_a, boxes_b = np.stack([a.box_at(s) for s in seconds]), np.stack([b.box_at(s) for s in seconds])
    return (end - start) / union * float(np.mean(iou(boxes_a, boxes_b)))


def _matched_tubes(real: Sequence[ActionTube], claimed: Sequence[ActionTube], min_iou: float) -> int:
    """Tubes are matched by descending score; each true tube is matched at most once."""
    free = list(real)
    matched = 0
    for tube in sorted(claimed, key=lambda tube: -tube.score):
        overlaps = [tube_iou(tube, other) if other.action == tube.action else 0.0 for other in free]
        if overlaps and max(overlaps) >= min_iou:
            free.pop(int(np.argmax(overlaps)))
            matched += 1
    return matched


def _matched_moments(
    real: Sequence[ActionTube], claimed: Sequence[ActionTube], min_iou: float
) -> NDArray[np.float64]:
    """(found, true, both): person-actions, summed over moments."""
    end = max((tube.end for tube in [*real, *claimed]), default=0.0)
    total = np.zeros(3)
    for second in np.arange(0, end + 1e-9, _STEP):
        for action in {tube.action for tube in [*real, *claimed]}:
            a = [t.box_at(second) for t in real if t.action == action and t.start <= second <= t.end]
            b = [t.box_at(second) for t in claimed if t.action == action and t.start <= second <= t.end]
            total += (len(b), len(a), 0)
            if a and b:
                overlaps = iou_matrix(np.stack(a), np.stack(b)) >= min_iou
                rows, columns = linear_sum_assignment(overlaps, maximize=True)
                total[2] += overlaps[rows, columns].sum()
    return total
