"""Ground truth and detections of any size, for measuring the evaluator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...formats.ava.files import BoxTable, KeyTable

__all__ = ["synthetic_detections", "synthetic_ground_truth"]


def synthetic_ground_truth(
    num_boxes: int = 93_400,
    num_keyframes: int = 50_029,
    num_videos: int = 64,
    class_ids: Sequence[int] = range(1, 81),
    seed: int = 0,
) -> BoxTable:
    """Random boxes (three decimals, as AVA's) in random keyframes; rows by video and second.

    The default is of the size of AVA's validation set. Every keyframe has a row: those that are left without a box
    are rows of two columns.
    """
    rng = np.random.default_rng(seed)
    frame = np.sort(rng.integers(num_keyframes, size=num_boxes))
    empty = np.setdiff1d(np.arange(num_keyframes), frame)
    boxes = np.sort(rng.integers(0, 1001, size=(num_boxes, 2, 2)), axis=1).reshape(-1, 4) / 1000
    videos = tuple(f"video_{v:05d}" for v in range(num_videos))
    frames_per_video = -(-num_keyframes // num_videos)
    video, second = np.divmod(np.concatenate([frame, empty]), frames_per_video)
    video, second = video.astype(np.int32), second + 902.0
    line = np.arange(1, len(video) + 1)
    return BoxTable(
        path="ground truth",
        videos=videos,
        video=video[:num_boxes],
        second=second[:num_boxes],
        boxes=boxes,
        action=rng.choice(class_ids, num_boxes).astype(np.int32),
        score=np.ones(num_boxes),
        person=np.full(num_boxes, -1, dtype=np.int32),
        line=line[:num_boxes],
        keyframes=KeyTable("ground truth", videos, video[num_boxes:], second[num_boxes:], line[num_boxes:]),
    )


def synthetic_detections(
    groundtruth: BoxTable,
    num_detections: int = 2_300_000,
    class_ids: Sequence[int] = range(1, 81),
    accuracy: float = 0.3,
    seed: int = 0,
) -> BoxTable:
    """Noisy copies of ground-truth boxes, in their order, with random scores of six decimals.

    Args:
        accuracy: share of the copies that keep their class (and tend to higher scores); the others get a
            random one.
    """
    rng = np.random.default_rng(seed)
    source = np.sort(rng.integers(len(groundtruth), size=num_detections))
    noisy = groundtruth.boxes[source] + rng.normal(0, 0.03, size=(num_detections, 4))
    boxes = np.sort(noisy.clip(0, 1).round(3).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    keeps_class = rng.random(num_detections) < accuracy
    action = np.where(keeps_class, groundtruth.action[source], rng.choice(class_ids, num_detections))
    score = (rng.random(num_detections) ** np.where(keeps_class, 1, 2)).round(6)
    none = np.empty(0, dtype=np.int64)
    keyframes = KeyTable("detections", groundtruth.videos, none.astype(np.int32), none.astype(float), none)
    return BoxTable(
        path="detections",
        videos=groundtruth.videos,
        video=groundtruth.video[source],
        second=groundtruth.second[source],
        boxes=boxes,
        action=action.astype(np.int32),
        score=score,
        person=np.full(num_detections, -1, dtype=np.int32),
        line=np.arange(1, num_detections + 1),
        keyframes=keyframes,
    )
