"""A small labelled share of a training set, for few-label experiments."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Subset

from ..core import NOT_NEGATIVE, Key, Limit, add_section
from .datasets.records import DetectionRecord, VideoRecord, VideoRecords

__all__ = ["keyframe_share", "stratified_share", "video_share"]

logger = logging.getLogger(__name__)

add_section(
    "DATASETS",
    # Share of the labelled training records to use, stratified by class, and the seed that selects it (few-label
    # experiments; a larger share includes a smaller one).
    TRAIN_SHARE=Key(1.0, Limit(0, 1, open_low=True)),
    TRAIN_SHARE_SEED=Key(0, NOT_NEGATIVE),
)


def stratified_share(
    items: NDArray[np.integer], labels: NDArray[np.integer], count: int, share: float, seed: int
) -> NDArray[np.int64]:
    """Select a stratified ``share`` of ``count`` items; returns ascending indices.

    Each item belongs to the rarest of its labels. Of each label's items (and of the unlabelled ones) the share is kept,
    rounded, but at least one. With the same seed a larger share includes a smaller one.

    Args:
        items, labels: (R,) pairs: item ``items[i]`` has label ``labels[i]``, from 0.
        share: in (0, 1].
    """
    items, labels = np.unique(np.stack([items, labels]).astype(np.int64), axis=1)
    commonness = np.bincount(labels)[labels]
    order = np.lexsort((labels, commonness, items))
    with_label, first = np.unique(items[order], return_index=True)
    stratum = np.full(count, -1, dtype=np.int64)
    stratum[with_label] = labels[order][first]
    order = np.lexsort((np.random.default_rng(seed).permutation(count), stratum))
    _, starts, sizes = np.unique(stratum[order], return_index=True, return_counts=True)
    place = np.arange(count) - np.repeat(starts, sizes)
    wanted = np.maximum(np.floor(share * sizes + 0.5), 1)
    return np.sort(order[place < np.repeat(wanted, sizes)])


def video_share(records: Sequence[VideoRecord], share: float, seed: int) -> Sequence[VideoRecord]:
    """The stratified share of labelled videos; see :func:`stratified_share`."""
    if share == 1:
        return records
    records = VideoRecords.of(records)
    items = np.repeat(np.arange(len(records)), np.diff(records.label_starts))
    kept = stratified_share(items, records.labels, len(records), share, seed)
    _report(len(kept), len(records), "videos")
    return records.take(kept)


def keyframe_share(records: Sequence[DetectionRecord], share: float, seed: int) -> Sequence[DetectionRecord]:
    """The stratified share of keyframes, each assigned to its rarest action; see :func:`stratified_share`."""
    if share == 1:
        return records
    pairs = [
        (place, action)
        for place, record in enumerate(records)
        for actions in record.actions
        for action in actions
    ]
    items, labels = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    kept = stratified_share(items, labels, len(records), share, seed)
    _report(len(kept), len(records), "keyframes")
    return cast(Sequence[DetectionRecord], Subset(cast(Any, records), cast(Any, kept)))


def _report(kept: int, total: int, what: str) -> None:
    logger.info("training on %d of %d %s (DATASETS.TRAIN_SHARE)", kept, total, what)
