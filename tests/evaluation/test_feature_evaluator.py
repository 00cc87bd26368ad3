"""Features from batches to metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.evaluation.feature_evaluator import FeatureEvaluator
from modist_det.utils.errors import UserError

GALLERY = {"a": 0, "b": 1, "c": 1}
QUERIES = {"q": 0, "r": 1}
FEATURES = {
    "a": [1.0, 0.0],
    "b": [0.0, 1.0],
    "c": [0.1, 0.9],
    "q": [0.9, 0.1],
    "r": [0.8, 0.7],
}


def feed(evaluator, names, features=FEATURES):
    evaluator.process({"id": names}, [{"features": torch.tensor(features[name])} for name in names])


def test_figures_of_batches_in_any_order():
    evaluator = FeatureEvaluator(GALLERY, QUERIES, neighbours=1)
    feed(evaluator, ["q", "c"])
    feed(evaluator, ["b", "r", "a"])
    metrics = evaluator.evaluate()
    # Nearest to r = (0.8, 0.7) is a: cosine 0.8 / 1.063 = 0.753; to c it is 0.71 / (1.063 * 0.906) = 0.737.
    assert metrics["knn"] == metrics["R@1"] == 0.5
    assert "R@5" not in metrics
    assert metrics["similarity"] == pytest.approx((0.72 + 0.07) / (np.hypot(0.9, 0.1) * np.hypot(0.8, 0.7)))
    assert 0 <= metrics["linear"] <= 1
    evaluator.reset()
    with pytest.raises(UserError, match="could be read"):
        evaluator.evaluate()


def test_unreadable_videos_are_left_out():
    evaluator = FeatureEvaluator(GALLERY, QUERIES, neighbours=1, linear_probe=False)
    feed(evaluator, ["q", "a"])
    metrics = evaluator.evaluate()
    assert metrics["knn"] == 1.0 and "linear" not in metrics


def test_a_video_on_both_sides_is_refused():
    with pytest.raises(UserError, match="the first 'a'"):
        FeatureEvaluator(GALLERY, {"a": 0, "z": 1})
    with pytest.raises(UserError, match="both"):
        FeatureEvaluator(GALLERY, {})


def test_features_that_are_not_finite_are_refused():
    evaluator = FeatureEvaluator(GALLERY, QUERIES)
    with pytest.raises(UserError, match="q: the model gave features that are not finite"):
        feed(evaluator, ["q"], {"q": [float("nan"), 0.0]})
