"""The linear probe against an optimum that is known, and against scikit-free slow gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.evaluation.linear_probe import fit_linear_classifier, linear_probe_accuracy


def classes(rng, count, spread, dim=6, num_classes=3):
    centers = rng.normal(size=(num_classes, dim))
    labels = np.arange(count) % num_classes
    return centers[labels] + spread * rng.normal(size=(count, dim)), labels


def test_the_fit_is_the_minimum_that_gradient_descent_finds():
    rng = np.random.default_rng(0)
    features, labels = classes(rng, 60, 1.0)
    features = features * [1, 10, 100, 1, 1, 1] + 5
    classifier = fit_linear_classifier(features, labels, 3, strength=0.05)
    x = torch.from_numpy((features - features.mean(axis=0)) / features.std(axis=0))
    weights = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights, bias], lr=0.5)
    for _ in range(4000):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weights + bias, torch.from_numpy(labels))
        (loss + 0.025 * weights.square().sum()).backward()
        optimizer.step()
    np.testing.assert_allclose(classifier.weights, weights.detach().numpy(), atol=1e-3)
    np.testing.assert_allclose(classifier(features), (x @ weights + bias).detach().numpy(), atol=5e-3)


def test_a_constant_feature_changes_nothing():
    rng = np.random.default_rng(1)
    features, labels = classes(rng, 30, 0.5)
    padded = np.concatenate([features, np.full((30, 2), 7.0)], axis=1)
    plain = fit_linear_classifier(features, labels, 3, 0.01)(features)
    np.testing.assert_allclose(fit_linear_classifier(padded, labels, 3, 0.01)(padded), plain, atol=1e-6)


@pytest.mark.parametrize(("spread", "lowest", "highest"), [(0.05, 1.0, 1.0), (100.0, 0.2, 0.47)])
def test_accuracy_says_how_far_classes_are_apart(spread, lowest, highest):
    rng = np.random.default_rng(2)
    features, labels = classes(rng, 600, spread)
    accuracy = linear_probe_accuracy(features[:300], labels[:300], features[300:], labels[300:])
    assert lowest <= accuracy <= highest


def test_one_video_a_class_is_enough():
    assert linear_probe_accuracy(np.eye(3), np.arange(3), np.eye(3), np.arange(3)) == 1.0


def test_a_class_that_only_queries_have_is_always_missed():
    gallery, labels = np.eye(2).repeat(5, axis=0), np.arange(2).repeat(5)
    assert linear_probe_accuracy(gallery, labels, np.eye(2), np.array([0, 2])) == 0.5
