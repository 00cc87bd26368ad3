"""Linear probe: the accuracy of a linear classifier on frozen features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

__all__ = ["LinearClassifier", "fit_linear_classifier", "fit_linear_probe", "linear_probe_accuracy"]

_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


class LinearClassifier:
    """Standardized features times ``weights`` (D, K) plus ``bias`` (K,)."""

    def __init__(
        self,
        mean: NDArray[np.float64],
        std: NDArray[np.float64],
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
    ) -> None:
        self.mean = mean
        self.std = std
        self.weights = weights
        self.bias = bias

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits (N, K) of features (N, D)."""
        return (np.asarray(features, np.float64) - self.mean) / self.std @ self.weights + self.bias


def fit_linear_classifier(
    features: NDArray[np.floating], labels: NDArray[np.integer], num_classes: int, strength: float
) -> LinearClassifier:
    """Fit a multinomial logistic regression on standardized features with L-BFGS, starting from zero (deterministic).

    Minimizes the mean cross-entropy plus ``strength / 2`` times the squared weights (not the bias).

    Args:
        features: (N, D).
        labels: (N,), in [0, K).
    """
    x = np.asarray(features, np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(
        std > 1e-6 * max(std.max(initial=0.0), 1e-30), std, np.inf
    )  # constant features carry no information
    x = (x - mean) / std
    rows = np.arange(len(x))

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = flat[:-num_classes].reshape(-1, num_classes), flat[-num_classes:]
        logits = x @ weights + bias
        log_share = logits - logsumexp(logits, axis=1, keepdims=True)
        loss = -log_share[rows, labels].mean() + strength / 2 * np.square(weights).sum()
        error = np.exp(log_share)
        error[rows, labels] -= 1
        error /= len(x)
        return float(loss), np.concatenate([(x.T @ error + strength * weights).ravel(), error.sum(axis=0)])

    start = np.zeros((x.shape[1] + 1) * num_classes)
    flat = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return LinearClassifier(mean, std, flat[:-num_classes].reshape(-1, num_classes), flat[-num_classes:])


def linear_probe_accuracy(
    gallery: NDArray[np.floating],
    gallery_labels: NDArray[np.integer],
    queries: NDArray[np.floating],
    query_labels: NDArray[np.integer],
) -> float:
    """Accuracy on the queries of a linear classifier fitted to the gallery by :func:`fit_linear_probe`.

    Args:
        gallery: (N, D); gallery_labels: (N,); queries: (M, D); query_labels: (M,).
    """
    num_classes = int(max(np.max(gallery_labels), np.max(query_labels))) + 1
    classifier = fit_linear_probe(gallery, gallery_labels, num_classes)
    return _accuracy(classifier, queries, query_labels)


def fit_linear_probe(
    features: NDArray[np.floating], labels: NDArray[np.integer], num_classes: int
) -> LinearClassifier:
    """Fit a linear classifier whose regularization strength is chosen on held-out data (every fifth feature).

    The final classifier is fitted to all features.

    Args:
        features: (N, D).
        labels: (N,), in [0, K).
    """
    features, labels = np.asarray(features), np.asarray(labels)
    # Sorted by class first, so that each class is in both parts.
    order = np.argsort(labels, kind="stable")
    held_out, fitted = order[::5], np.delete(order, np.s_[::5])

    def accuracy(strength: float) -> float:
        classifier = fit_linear_classifier(features[fitted], labels[fitted], num_classes, strength)
        return _accuracy(classifier, features[held_out], labels[held_out])

    best = max(_STRENGTHS, key=accuracy) if len(fitted) else _STRENGTHS[-1]
    return fit_linear_classifier(features[order], labels[order], num_classes, best)


def _accuracy(
    classifier: LinearClassifier, features: NDArray[np.floating], labels: NDArray[np.integer]
) -> float:
    return float((classifier(features).argmax(axis=1) == np.asarray(labels)).mean())
