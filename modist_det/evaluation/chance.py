"""The metric at chance level, the baseline for small models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..formats.ava.files import BoxTable

__all__ = ["with_random_scores"]


def with_random_scores(detections: BoxTable, draws: int = 5, seed: int = 0) -> Iterator[BoxTable]:
    """Yield the same boxes and classes ``draws`` times, with scores drawn uniformly from [0, 1).

    Example::

        table = read_detections("puppets_val_detections.csv")
        chance = [evaluate_ava("val.csv", random, "label_map.pbtxt")["mAP"] for random in with_random_scores(table)]
    """
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield dataclasses.replace(detections, score=rng.random(len(detections)))
