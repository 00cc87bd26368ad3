"""Typed dicts of the samples, batches and predictions that pass from mappers to models to evaluators.

A sample holds the data of one record. A batch holds the same entries for several samples: tensors of equal shape are
stacked, everything else is in lists. A custom task extends :class:`Sample` and :class:`Batch` with its own entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = [
    "BadVideo",
    "Batch",
    "ClassificationBatch",
    "ClassificationSample",
    "Collate",
    "DetectionBatch",
    "DetectionSample",
    "Features",
    "Losses",
    "Mapper",
    "PretrainingBatch",
    "PretrainingSample",
    "Sample",
    "Scores",
]

BadVideo = tuple[str, str]  # (path, reason)


class Sample(TypedDict):
    """Base of all samples: an id for messages and results."""

    id: str


class Batch(TypedDict):
    """Base of all batches: the samples' ids, and the videos that could not be read."""

    id: list[str]
    bad_videos: list[BadVideo]


class _ScoredSample(Sample, total=False):
    person_scores: Tensor  # float32 (N,): the person detector's, if action scores are multiplied by them


class DetectionSample(_ScoredSample):
    """The clip around a keyframe, and its N persons."""

    video: Tensor  # uint8 (3, T, H, W)
    boxes: Tensor  # float32 (N, 4), x1y1x2y2 in pixels of the clip
    labels: Tensor  # float32 (N, K) of 0 and 1; class id c is column c - 1
    video_id: str
    second: float  # as annotated
    original_boxes: Tensor  # float32 (N, 4) in [0, 1]
    original_size: tuple[int, int]  # (height, width) of the video


class _ExtendedBatch(Batch, total=False):
    clip_size: list[tuple[int, int]]  # (height, width) of each clip without padding, if there is any
    person_scores: list[Tensor]


class DetectionBatch(_ExtendedBatch):
    """B clips of one size."""

    video: Tensor  # uint8 (B, 3, T, H, W); floats must be normalized
    boxes: list[Tensor]
    labels: list[Tensor]
    video_id: list[str]
    second: list[float]
    original_boxes: list[Tensor]
    original_size: list[tuple[int, int]]


class ClassificationSample(Sample):
    """One or several clips of a video."""

    video: Tensor  # uint8 (3, T, S, S), or (V, 3, T, S, S): V views
    labels: Tensor  # float32 (K,) of 0 and 1
    video_number: Tensor  # int64 (), equal for clips of one video
    video_id: str


class ClassificationBatch(Batch):
    """B videos."""

    video: Tensor  # uint8 (B, 3, T, S, S) or (B, V, 3, T, S, S)
    labels: list[Tensor]
    video_number: Tensor  # int64 (B,)
    video_id: list[str]


class _Motion(TypedDict, total=False):
    motion: (
        Tensor  # uint8 (clips, C, T', S, S), of a batch (B, clips, C, T', S, S); where the method asks for it
    )


class PretrainingSample(Sample, _Motion):
    """Clips of one video, as many as the method needs, with their motion."""

    video: Tensor  # uint8 (clips, 3, T, S, S)
    video_number: Tensor  # int64 (), equal for clips of one video
    video_id: str


class PretrainingBatch(Batch, _Motion):
    """B videos."""

    video: Tensor  # uint8 (B, clips, 3, T, S, S)
    video_number: Tensor  # int64 (B,)
    video_id: list[str]


class Scores(TypedDict):
    """A detector's or classifier's prediction of one sample."""

    scores: Tensor  # float32 in [0, 1], (N, K) of N persons or (K,) of a video


class Features(TypedDict):
    """A pretraining method's prediction of one sample."""

    features: Tensor  # float32 (D,)


# Values returned by a model in training mode; those named "loss..." are summed and minimized.
Losses = dict[str, "Tensor"]
# A record and the sample's own random generator -> the sample.
Mapper = Callable[[Any, "np.random.Generator"], Sample]
# Samples -> the batch, without its ``bad_videos``.
Collate = Callable[[Sequence[Any]], dict[str, Any]]
