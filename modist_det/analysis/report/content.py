"""Everything that a report shows, as a dict ready for JSON."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.ava import AVAMatch, metrics
from ...evaluation.frame_ap import PrecisionRecall, precision_recall
from ...utils.progress import progress_bar
from ...utils.spread import evenly_spread
from ...video.reader import VideoError, open_video
from .media import clip_uri, frame_uri
from .outcomes import OperatingPoint, false_positives, misses, operating_points, select_keyframes
from .subjects import Subject

__all__ = ["report_content"]

logger = logging.getLogger(__name__)

_CURVE_POINTS = 200
_FRAME_WIDTH, _CLIP_WIDTH = 480, 320  # pixels
_CLIP_SECONDS = 2.0


def report_content(
    subject: Subject,
    detections: str | os.PathLike,
    *,
    num_keyframes: int,
    num_clips: int,
    max_clip_bytes: int,
) -> dict[str, Any]:
    """See :func:`~modist_det.analysis.report.write_report`; the page's script documents the keys by using them.

    A class is given by its place in ``classes``, a keyframe by its place in ``keyframes``. A video that cannot be
    read leaves its keyframes without images, with a note that says why.
    """
    matched = subject.matched
    result = metrics(matched)
    points = operating_points(matched)
    missed = misses(matched, points, num_keyframes // 3)
    wrong = false_positives(matched, points, num_keyframes // 3)
    # In turns, so that clips, of which there are fewer, are of both.
    pairs = itertools.zip_longest((m.keyframe for m in missed), (f.keyframe for f in wrong))
    worst = [keyframe for pair in pairs for keyframe in pair if keyframe is not None]
    chosen = select_keyframes(len(matched.boxes.keyframes), worst, num_keyframes)
    place = {keyframe: i for i, keyframe in enumerate(chosen)}
    with_clips = list(dict.fromkeys([*worst, *chosen]))[:num_clips]
    keyframes, where = _keyframes(matched, chosen)
    _add_media(subject, keyframes, [place[k] for k in with_clips], max_clip_bytes)
    return {
        "task": subject.task,
        "dataset": subject.name,
        "detections": Path(detections).name,
        "summary": {
            "metrics": subject.headline(result),
            "intervals": subject.intervals(result),
            **_summary(result, len(chosen)),
        },
        "classes": _classes(result, subject, points),
        "keyframes": keyframes,
        "misses": [
            {
                "keyframe": place[m.keyframe],
                "class": m.class_index,
                "person": where.truth[m.box],
                "score": None if m.score is None else round(m.score, 4),
                "detected": m.person_detected,
            }
            for m in missed
        ],
        "false_positives": [
            {
                "keyframe": place[f.keyframe],
                "class": f.class_index,
                "person": where.detected[f.detection],
                "score": round(f.score, 4),
                "kind": f.kind,
            }
            for f in wrong
        ],
    }


def _summary(result: dict[str, Any], num_shown: int) -> dict[str, Any]:
    kept = (
        "mAP",
        "mAP_by_type",
        "mode",
        "iou_threshold",
        "num_classes",
        "num_classes_evaluated",
        "num_keyframes",
        "num_groundtruth",
        "num_detections",
        "warnings",
    )
    return {**{key: result[key] for key in kept}, "num_keyframes_shown": num_shown}


def _classes(
    result: dict[str, Any], subject: Subject, points: dict[int, OperatingPoint]
) -> list[dict[str, Any]]:
    matched = subject.matched
    curves = precision_recall(matched.counted, matched.finds >= 0, matched.boxes.counts)
    classes = []
    for index, (row, more) in enumerate(zip(result["classes"], subject.class_facts(), strict=True)):
        point, curve = points.get(index), curves.get(index)
        classes.append(
            {
                **row,
                **more,
                "threshold": None if point is None else point.threshold,
                "precision": None if point is None else point.precision,
                "recall": None if point is None else point.recall,
                "curve": [] if curve is None else _thinned(curve),
            }
        )
    return classes


def _thinned(curve: PrecisionRecall) -> list[list[float]]:
    """[recall, precision] where recall grows, at most about ``_CURVE_POINTS`` of them and always the last."""
    grows = np.flatnonzero(np.diff(curve.recall, prepend=0) > 0)
    grows = grows[evenly_spread(len(grows), _CURVE_POINTS)]
    return np.column_stack([curve.recall[grows], curve.precision[grows]]).round(4).tolist()


class _Persons:
    """Number of the person, in its keyframe, that a box or detection belongs to."""

    def __init__(self) -> None:
        self.truth: dict[int, int] = {}
        self.detected: dict[int, int] = {}


def _keyframes(matched: AVAMatch, chosen: list[int]) -> tuple[list[dict[str, Any]], _Persons]:
    """The chosen keyframes with their persons: rows with the same box are one person."""
    num_classes = len(matched.class_ids)
    place_keyframe, place_class = np.divmod(matched.boxes.place, num_classes)
    score = np.full(len(matched.boxes.place), np.nan)
    is_hit = matched.finds >= 0
    score[matched.finds[is_hit]] = matched.counted.score[is_hit]
    where, keyframes = _Persons(), []
    for keyframe in chosen:
        boxes = np.flatnonzero(place_keyframe == keyframe).tolist()
        truth, where_truth = _group(
            (i, matched.boxes.boxes[i], [int(place_class[i]), _rounded(score[i])]) for i in boxes
        )
        rows = np.flatnonzero(matched.counted.keyframe == keyframe)
        rows = rows[np.argsort(-matched.counted.score[rows], kind="stable")]
        people, where_detected = _group(
            (
                i,
                matched.detected.boxes[matched.counted.row[i]],
                [
                    int(matched.counted.class_index[i]),
                    _rounded(matched.counted.score[i]),
                    int(matched.finds[i] >= 0),
                ],
            )
            for i in rows.tolist()
        )
        where.truth.update(where_truth)
        where.detected.update(where_detected)
        video, second = matched.keyframe(keyframe)
        keyframes.append({"video": video, "second": second, "truth": truth, "people": people})
    return keyframes, where


def _group(rows: Iterable[tuple[int, Any, list]]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Persons (a box and its actions), in order of their first row; and the person of each row."""
    persons: dict[tuple[float, ...], dict[str, Any]] = {}
    numbers: dict[tuple[float, ...], int] = {}
    where = {}
    for row, box, action in rows:
        key = tuple(box.round(6).tolist())
        shown = [round(min(max(value, 0.0), 1.0), 5) for value in key]
        persons.setdefault(key, {"box": shown, "actions": []})["actions"].append(action)
        where[row] = numbers.setdefault(key, len(numbers))
    return list(persons.values()), where


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 4)


def _add_media(
    subject: Subject, keyframes: list[dict[str, Any]], with_clips: list[int], max_clip_bytes: int
) -> None:
    """Put ``image``, ``width``, ``height``, ``clip`` and ``note`` into the keyframes; no clips beyond the bytes."""
    found = subject.find_videos(list(dict.fromkeys(keyframe["video"] for keyframe in keyframes)))
    spent = 0
    with progress_bar("reading keyframes", "keyframe", len(keyframes)) as bar:
        # Those with clips first, so that it is theirs that the bytes are spent on, in their order.
        for number in dict.fromkeys([*with_clips, *range(len(keyframes))]):
            keyframe = keyframes[number]
            keyframe.update(image=None, width=16, height=9, clip=None, note="")
            if keyframe["video"] not in found:
                keyframe["note"] = f"The video {keyframe['video']} is missing."
            else:
                try:
                    with open_video(*found[keyframe["video"]]) as video:
                        time = subject.moment(keyframe["video"], keyframe["second"], video.info)
                        frame = video.frames_at_times([time])[0]
                        keyframe["height"], keyframe["width"] = frame.shape[:2]
                        keyframe["image"] = frame_uri(frame, _FRAME_WIDTH)
                        if number in with_clips and spent < max_clip_bytes:
                            clip = clip_uri(video, time, _CLIP_SECONDS, _CLIP_WIDTH)
                            if spent + len(clip) <= max_clip_bytes:
                                keyframe["clip"] = clip
                                spent += len(clip)
                except VideoError as error:
                    keyframe["note"] = str(error)
                    logger.warning("%s", error)
            bar.update()
