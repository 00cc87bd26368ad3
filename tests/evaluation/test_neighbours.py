"""k-NN, retrieval and collapse statistics against counts by hand and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modist_det.evaluation.neighbours import (
    feature_statistics,
    knn_accuracy,
    nearest_labels,
    retrieval_recall,
)


def on_circle(*degrees):
    return np.array([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def test_recall_counted_by_hand():
    gallery, labels = on_circle(0, 10, 90, 180), np.array([0, 1, 1, 2])
    queries, truth = on_circle(4, 80, 170), np.array([1, 0, 2])
    # order of gallery labels: 4 deg -> 0 1 1 2; 80 deg -> 1 1 0 2; 170 deg -> 2 1 1 0
    recall = retrieval_recall(gallery, labels, queries, truth, ranks=(1, 2, 3, 4, 50))
    assert recall == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 3: 1.0, 4: 1.0}


def test_length_does_not_matter_and_ties_keep_the_order():
    gallery = np.array([[5.0, 0.0], [0.1, 0.0], [0.0, 2.0]])
    labels, similarity = nearest_labels(gallery, np.array([7, 8, 9]), np.array([[3.0, 0.0]]), 3)
    assert labels.tolist() == [[7, 8, 9]]
    assert similarity[0] == pytest.approx([1, 1, 0], abs=1e-6)


def test_a_close_neighbour_outvotes_two_distant_ones():
    gallery, labels = on_circle(0, 60, -60), np.array([0, 1, 1])
    assert knn_accuracy(gallery, labels, on_circle(0), np.array([0]), neighbours=3, temperature=0.1) == 1.0
    # At a high temperature all votes weigh the same.
    assert knn_accuracy(gallery, labels, on_circle(0), np.array([0]), neighbours=3, temperature=1e3) == 0.0


def test_against_plain_loops():
    rng = np.random.default_rng(0)
    gallery, queries = rng.normal(size=(70, 5)), rng.normal(size=(1100, 5))
    labels, truth = rng.integers(0, 4, 70), rng.integers(0, 4, 1100)
    hits = votes_right = 0
    for query, wanted in zip(queries, truth, strict=True):
        cosines = [float(query @ g / np.linalg.norm(query) / np.linalg.norm(g)) for g in gallery]
        order = sorted(range(70), key=lambda i: -cosines[i])
        hits += wanted in [labels[i] for i in order[:5]]
        votes = [0.0] * 4
        for i in order[:10]:
            votes[labels[i]] += math.exp(cosines[i] / 0.07)
        votes_right += votes.index(max(votes)) == wanted
    assert retrieval_recall(gallery, labels, queries, truth, ranks=(5,))[5] == pytest.approx(hits / 1100)
    assert knn_accuracy(gallery, labels, queries, truth, neighbours=10) == pytest.approx(votes_right / 1100)


def test_statistics_tell_collapsed_from_spread_features():
    equal = feature_statistics(np.ones((10, 4)))
    assert equal["similarity"] == pytest.approx(1) and equal["rank"] == 1
    # Opposite pairs along two axes: centred, two equal singular values.
    spread = feature_statistics(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0]]))
    assert spread["rank"] == pytest.approx(2)
    # of the six pairs two have cosine -1, four 0
    assert spread["similarity"] == pytest.approx(-2 / 6)
