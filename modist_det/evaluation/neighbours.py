"""Metrics of features that need no training: k-NN accuracy, retrieval recall, collapse statistics.

The protocol of UCF101 and HMDB51: each test clip queries the training set. Computed in numpy, block by
block, so that the full similarity matrix is never in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["feature_statistics", "knn_accuracy", "nearest_labels", "retrieval_recall"]

Features = NDArray[np.floating]
Labels = NDArray[np.integer]

_BLOCK = 1024


def nearest_labels(
    gallery: Features, gallery_labels: Labels, queries: Features, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels and cosine similarities of each query's ``count`` nearest gallery features, nearest first.

    Args:
        gallery: (N, D); gallery_labels: (N,); queries: (M, D). They need not be normalized.
        count: at most N.

    Returns:
        int64 (M, count) and float32 (M, count). Equal similarities keep the order of the gallery.
    """
    if not 1 <= count <= len(gallery):
        raise ValueError(f"{count} neighbours of {len(gallery)} features")
    normalized = _normalize(gallery)
    labels = np.empty((len(queries), count), np.int64)
    similarities = np.empty((len(queries), count), np.float32)
    for first in range(0, len(queries), _BLOCK):
        rows = slice(first, first + _BLOCK)
        similarity = _normalize(queries[rows]) @ normalized.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        labels[rows] = np.asarray(gallery_labels)[order]
        similarities[rows] = np.take_along_axis(similarity, order, axis=1)
    return labels, similarities


def knn_accuracy(
    gallery: Features,
    gallery_labels: Labels,
    queries: Features,
    query_labels: Labels,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> float:
    """Fraction of queries whose nearest neighbours vote for the right label.

    A vote has weight ``exp(similarity / temperature)`` (Wu et al. 2018). If the gallery is small, all of it votes.
    """
    labels, similarities = nearest_labels(gallery, gallery_labels, queries, min(neighbours, len(gallery)))
    weights = np.exp((similarities - similarities[:, :1]) / temperature)
    votes = np.zeros((len(queries), int(np.max(gallery_labels)) + 1))
    np.add.at(votes, (np.arange(len(queries))[:, None], labels), weights)
    return float((votes.argmax(axis=1) == np.asarray(query_labels)).mean())


def retrieval_recall(
    gallery: Features,
    gallery_labels: Labels,
    queries: Features,
    query_labels: Labels,
    ranks: Sequence[int] = (1, 5, 10, 20, 50),
) -> dict[int, float]:
    """R@k: fraction of queries with their label among the k nearest gallery features.

    Ranks beyond the gallery's size are omitted.
    """
    ranks = [rank for rank in ranks if rank <= len(gallery)]
    if not ranks:
        return {}
    labels, _ = nearest_labels(gallery, gallery_labels, queries, max(ranks))
    hits = np.maximum.accumulate(labels == np.asarray(query_labels)[:, None], axis=1)
    return {rank: float(hits[:, rank - 1].mean()) for rank in ranks}


def feature_statistics(features: Features) -> dict[str, float]:
    """Statistics that show whether features have collapsed.

    Returns:
        ``similarity``: mean cosine similarity of two different features (1: all equal); ``rank``: the effective
        rank, ``exp`` of the entropy of the normalized singular values of the centred unit features (Roy and Vetterli
        2007), between 1 and D; ``dim``: D.
    """
    unit = _normalize(features).astype(np.float64)
    count = len(unit)
    mean = unit.mean(axis=0)
    similarity = (count * float(mean @ mean) - 1) / (count - 1) if count > 1 else 1.0
    singular = np.linalg.svd(unit - mean, compute_uv=False)
    total = singular.sum()
    if total <= 1e-9:
        return {"similarity": similarity, "rank": 1.0, "dim": float(unit.shape[1])}
    share = singular[singular > 0] / total
    return {
        "similarity": similarity,
        "rank": float(np.exp(-(share * np.log(share)).sum())),
        "dim": float(unit.shape[1]),
    }


def _normalize(features: Features) -> NDArray[np.float32]:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
