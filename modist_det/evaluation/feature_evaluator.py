"""``FeatureEvaluator``: evaluates features during self-supervised training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..structures.samples import Batch, Features
from ..utils import comm
from ..utils.errors import UserError
from .linear_probe import linear_probe_accuracy
from .neighbours import feature_statistics, knn_accuracy, retrieval_recall

__all__ = ["FeatureEvaluator", "feature_figures", "feature_metrics"]


class FeatureEvaluator:
    """Retrieves training videos for test videos: k-NN accuracy, retrieval recall, linear probe, collapse statistics.

    Args:
        gallery: class index of each training video, by id.
        queries: class index of each test video, by id.
        neighbours, temperature: parameters of the k-NN vote.
        linear_probe: whether to fit a linear probe, the slowest part.

    Raises:
        UserError: gallery or queries are empty, or an id is in both.
    """

    def __init__(
        self,
        gallery: Mapping[str, int],
        queries: Mapping[str, int],
        *,
        neighbours: int = 20,
        temperature: float = 0.07,
        linear_probe: bool = True,
    ) -> None:
        both = gallery.keys() & queries.keys()
        if both:
            raise UserError(
                f"{len(both)} videos are in the gallery and among the queries, the first {min(both)!r}; "
                "a video would retrieve itself: use different datasets in DATASETS.GALLERY or DATASETS.TEST"
            )
        if not gallery or not queries:
            raise UserError("k-NN and retrieval need videos in both DATASETS.GALLERY and DATASETS.TEST")
        self._gallery = dict(gallery)
        self._queries = dict(queries)
        self._neighbours = neighbours
        self._temperature = temperature
        self._linear_probe = linear_probe
        self.reset()

    def reset(self) -> None:
        self._features: dict[str, NDArray[np.float32]] = {}

    def process(self, batch: Batch, predictions: Sequence[Features]) -> None:
        """Add one batch: ``batch["id"]``, B ids; ``predictions``, B dicts with ``features`` (D,)."""
        for video, prediction in zip(batch["id"], predictions, strict=True):
            features = prediction["features"].detach().float().cpu().numpy()
            if not np.isfinite(features).all():
                raise UserError(f"{video}: the model gave features that are not finite")
            self._features[video] = features

    def evaluate(self) -> dict[str, float]:
        """See :func:`feature_metrics`; ``{}`` on processes other than the main one.

        Videos that could not be read are omitted.
        """
        shards = comm.gather(self._features)
        if not comm.is_main_process():
            return {}
        features = {video: feature for shard in shards for video, feature in shard.items()}
        sides = []
        for wanted in (self._gallery, self._queries):
            videos = [video for video in wanted if video in features]
            if not videos:
                raise UserError("no video of DATASETS.GALLERY or none of DATASETS.TEST could be read")
            sides += [np.stack([features[video] for video in videos]), np.array([wanted[v] for v in videos])]
        return feature_metrics(
            *sides,
            neighbours=self._neighbours,
            temperature=self._temperature,
            linear_probe=self._linear_probe,
        )


def feature_metrics(
    gallery: NDArray[np.floating],
    gallery_labels: NDArray[np.integer],
    queries: NDArray[np.floating],
    query_labels: NDArray[np.integer],
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
    linear_probe: bool = True,
) -> dict[str, float]:
    """All metrics of features (N, D) and (M, D) with their labels (N,) and (M,).

    Returns:
        ``knn``, ``R@1`` ... ``R@50`` and ``linear`` in [0, 1]; and for the queries' features ``similarity`` (mean
        cosine of pairs; 1: collapsed) and ``rank`` (effective rank, at most D).
    """
    metrics = {"knn": knn_accuracy(gallery, gallery_labels, queries, query_labels, neighbours, temperature)}
    recalls = retrieval_recall(gallery, gallery_labels, queries, query_labels)
    metrics.update((f"R@{rank}", recall) for rank, recall in recalls.items())
    if linear_probe:
        metrics["linear"] = linear_probe_accuracy(gallery, gallery_labels, queries, query_labels)
    statistics = feature_statistics(queries)
    metrics.update((name, statistics[name]) for name in ("similarity", "rank"))
    return metrics


feature_figures = feature_metrics  # the name of earlier versions
