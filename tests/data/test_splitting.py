from __future__ import annotations

import numpy as np
import pytest

from modist_det.data.datasets.splitting import choose_validation, warn_of_one_sided
from modist_det.utils.errors import UserError


def one_class_each(*counts: int) -> np.ndarray:
    """Videos with one class each, ``counts`` of each class."""
    return np.eye(len(counts), dtype=bool)[np.repeat(np.arange(len(counts)), counts)]


def test_each_class_has_its_share():
    has = one_class_each(50, 30, 10)
    for seed in range(5):
        val = choose_validation(has, 0.2, seed)
        assert has[val].sum(axis=0).tolist() == [10, 6, 2]


def test_rare_classes_are_on_both_sides_where_they_can_be():
    has = one_class_each(90, 2, 1)
    for seed in range(5):
        val = choose_validation(has, 0.1, seed)
        assert val.sum() == 9
        assert has[val].sum(axis=0)[1:].tolist() == [1, 0]


def test_several_classes_in_a_video():
    """40 videos with each of 6 classes in a third of them: all shares end near a quarter."""
    has = np.random.default_rng(0).random((40, 6)) < 1 / 3
    shares = has[choose_validation(has, 0.25, 3)].sum(axis=0) / has.sum(axis=0)
    assert np.abs(shares - 0.25).max() < 0.1


def test_the_seed_decides_between_equals():
    has = one_class_each(10, 10)
    masks = [choose_validation(has, 0.2, seed).tolist() for seed in (0, 0, 1)]
    assert masks[0] == masks[1] != masks[2]


def test_the_last_video_of_a_class_stays_for_training():
    has = np.array([[True, False], [True, True], [True, False]])  # the second class is in one video
    for seed in range(5):
        assert not choose_validation(has, 0.4, seed)[1]


def test_mistakes():
    with pytest.raises(UserError, match="between 0 and 1"):
        choose_validation(one_class_each(3), 1.0)
    with pytest.raises(UserError, match="a split needs two"):
        choose_validation(one_class_each(1), 0.5)


def test_classes_in_one_part_only():
    has = one_class_each(2, 2, 1)
    warnings = warn_of_one_sided(has, np.array([1, 1, 0, 1, 0], bool), {1: "run", 2: "walk", 5: "fall"})
    assert warnings == [
        "1 of 3 classes are there for training only, so nothing is measured for them: fall",
        "1 of 3 classes are there for validation only, so they cannot be learnt: run",
    ]
    assert warn_of_one_sided(has[:4], np.array([1, 0, 1, 0], bool), {1: "run", 2: "walk", 5: "fall"}) == []
