"""``TEST``: evaluation."""

from __future__ import annotations

from .node import CfgNode

__all__ = ["defaults"]


def defaults() -> CfgNode:
    test = CfgNode()
    # Per process: keyframes (detection), or videos with all their views (classification).
    test.BATCH_SIZE = 8
    # Classification: clips a video at equal distances, each with 1 (central) or 3 crops along its longer side.
    test.NUM_ENSEMBLE_VIEWS = 10
    test.NUM_SPATIAL_CROPS = 3
    test.VIEW_FUSION = "mean"  # of the views' scores, or "max"
    test.CLIPS_PER_FORWARD = 32  # so many views go through the model at once
    test.EVAL_PERIOD = 0.0  # epochs between evaluations during training; 0: only at the end
    # Recompute BN statistics over this many training batches before each evaluation and the last checkpoint.
    test.PRECISE_BN = CfgNode()
    test.PRECISE_BN.ENABLED = False
    test.PRECISE_BN.NUM_ITER = 200
    # Pretraining: how features are judged (evaluation/feature_evaluator.py).
    test.FEATURES = CfgNode()
    test.FEATURES.NEIGHBOURS = 20  # that vote in k-NN
    test.FEATURES.TEMPERATURE = 0.07  # a neighbour's vote is exp(similarity / TEMPERATURE)
    test.FEATURES.LINEAR_PROBE = True  # fit a linear classifier, too
    test.AVA = CfgNode()
    test.AVA.MODE = "official"  # or "pyslowfast", to compare with its published numbers
    # How many detections of a keyframe count in the official metric, over all classes. -1: AVA's 50 where the label map
    # has AVA's classes, no limit for other data; 0: no limit.
    test.AVA.MAX_DETECTIONS = -1
    return test
