"""Classification metrics in numpy: ranks, accuracy, average precision, confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Confusion",
    "average_precisions",
    "confusion_matrix",
    "interval_of_share",
    "mean_class_accuracy",
    "ranks_of_labels",
    "worst_confusions",
]


def ranks_of_labels(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rank (N,), from 0, of the best-scored label of each row; of equal scores the lower class index ranks first.

    Args:
        scores: (N, K); labels: (N, K), at least one in each row.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(labels, order, axis=1).argmax(axis=1)


def mean_class_accuracy(labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Accuracy of each class, averaged over the classes that occur."""
    total = np.bincount(labels)
    right = np.bincount(labels[labels == predicted], minlength=len(total))
    return float((right[total > 0] / total[total > 0]).mean())


def average_precisions(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AP of each class (K,): the mean precision at its rows in the ranking by score; NaN for classes without rows.

    Of equal scores the row without the class ranks first, so that constant scores gain nothing.

    Args:
        scores, labels: (N, K).
    """
    order = np.lexsort((labels, -scores), axis=0)
    hits = np.take_along_axis(labels, order, axis=0)
    precision = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, None]
    positives = hits.sum(axis=0)
    return np.where(positives > 0, (precision * hits).sum(axis=0) / np.maximum(positives, 1), np.nan)


def interval_of_share(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for the share of which ``hits`` of ``rows`` independent rows are a sample."""
    z = 1.959964
    share, spread = hits / rows, z * z / rows
    middle = share + spread / 2
    half = z * ((share * (1 - share) + spread / 4) / rows) ** 0.5
    return max((middle - half) / (1 + spread), 0.0), min((middle + half) / (1 + spread), 1.0)


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Counts (K, K): row is the label, column the prediction."""
    places = np.asarray(labels) * num_classes + np.asarray(predicted)
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


class Confusion(NamedTuple):
    label: str
    predicted: str
    rows: int
    share: float  # fraction of the label's rows


def worst_confusions(matrix: NDArray[np.integer], names: Sequence[str], limit: int = 10) -> list[Confusion]:
    """The most frequent confusions, sorted by count, then by share."""
    wrong = matrix - np.diag(np.diag(matrix))
    share = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows, columns = np.nonzero(wrong)
    order = np.lexsort((columns, rows, -share[rows, columns], -wrong[rows, columns]))[:limit]
    return [
        Confusion(names[r], names[c], int(wrong[r, c]), float(share[r, c]))
        for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]
