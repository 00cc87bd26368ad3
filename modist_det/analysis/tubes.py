"""Evaluate tubes: precision and recall against ground truth that is known at all times.

Two measures. *Tubes*: an action of a person counts as found if one of the same class overlaps it with a
spatio-temporal IoU of at least 0.5 (IoU of the times, times the mean IoU of the boxes where both are). *Time*: at
moments 0.1 s apart, an action of a person counts as found if it is also predicted for a box with an IoU of at
least 0.5. Both are matched by :mod:`modist_det.evaluation`. And for poses, of which a person has one at a time: how
often the best one is right.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.tube_ap import compare_frames, compare_tubes
from ..inference.results import VideoActions
from ..puppets.labels import CLASS_IDS, CLASS_NAMES, POSES
from ..puppets.tracks import convert_tracks
from ..structures.actions import ActionTube
from ..structures.boxes import iou_matrix
from ..utils.errors import UserError
from ..utils.json_reading import read_json

__all__ = [
    "ActionTube",
    "best_poses",
    "evaluate_tubes",
    "read_puppets_tracks",
    "tube_records",
    "tubes_of_result",
]

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


def tube_records(tubes: Mapping[str, Sequence[ActionTube]], step: float = _STEP / 2) -> list[dict[str, Any]]:
    """Tubes in seconds as records for the evaluation, with a frame every ``step`` seconds."""
    records = []
    for video, several in tubes.items():
        for tube in several:
            frames = np.arange(int(np.ceil(tube.start / step - 1e-6)), int(tube.end / step + 1e-6) + 1)
            if not len(frames):  # between two frames
                frames = np.array([round(tube.start / step)])
            times = np.clip(frames * step, tube.start, tube.end)
            boxes = np.column_stack([np.interp(times, tube.times, column) for column in tube.boxes.T])
            record = {"video": video, "class": tube.action, "frames": frames, "boxes": boxes}
            records.append({**record, "score": tube.score})
    return records


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
            f"there is no ground truth for video {unknown[0]}, only for {', '.join(sorted(truth)[:5])}"
        )
    real = {video: truth[video] for video in found}
    lasting = {
        video: [tube for tube in tubes if tube.end - tube.start >= min_seconds]
        for video, tubes in real.items()
    }
    # Durations are continuous, as MultiSports' protocol has them: from the first frame to the last.
    tubes = compare_tubes(tube_records(lasting), tube_records(found), "multisports")
    moments = compare_frames(tube_records(real, _STEP), tube_records(found, _STEP))
    matched = [int((compared.finds(min_iou) >= 0).sum()) for compared in (tubes, moments)]
    return {
        "tube_precision": _share(matched[0], len(tubes.found)),
        "tube_recall": _share(matched[0], len(tubes.truth)),
        "time_precision": _share(matched[1], len(moments.found)),
        "time_recall": _share(matched[1], len(moments.truth)),
        "tubes": len(tubes.found),
        "true_tubes": len(tubes.truth),
        "seconds": len(moments.found) * _STEP,
        "true_seconds": len(moments.truth) * _STEP,
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
