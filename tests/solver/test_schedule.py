"""Learning rates against numbers worked out by hand from PySlowFast's definition."""

from __future__ import annotations

import math

import pytest

from modist_det.config import get_cfg
from modist_det.solver import build_lr_schedule
from modist_det.utils.errors import UserError


def schedule(**solver):
    cfg = get_cfg()
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return build_lr_schedule(cfg)


def test_cosine_runs_from_the_start_and_warm_up_meets_it():
    # base 0.1 over 100 epochs, 20 of them warm-up from 0.001
    lr = schedule(BASE_LR=0.1, MAX_EPOCH=100.0, WARMUP_EPOCHS=20.0, WARMUP_START_LR=0.001)

    def cosine(epoch):
        return 0.1 * (math.cos(math.pi * epoch / 100) + 1) / 2

    assert lr(0.0) == pytest.approx(0.001)
    assert lr(0.1) == pytest.approx((0.001 + cosine(20)) / 2)
    assert lr(0.2) == pytest.approx(cosine(20))
    assert lr(0.5) == pytest.approx(0.05)
    assert lr(0.75) == pytest.approx(cosine(75))
    assert lr(1.0) == pytest.approx(0.0, abs=1e-12)


def test_relative_steps_change_at_their_epochs():
    lr = schedule(
        LR_POLICY="steps_with_relative_lrs",
        BASE_LR=0.3,
        STEPS=[0, 16, 24, 28],
        LRS=[1, 0.1, 0.01, 0.001],
        MAX_EPOCH=32.0,
    )
    for epoch, factor in [
        (0, 1),
        (15.99, 1),
        (16, 0.1),
        (23.99, 0.1),
        (24, 0.01),
        (28, 0.001),
        (31.9, 0.001),
    ]:
        assert lr(epoch / 32) == pytest.approx(0.3 * factor), epoch


def test_steps_beyond_the_end_are_ignored():
    lr = schedule(
        LR_POLICY="steps_with_relative_lrs", BASE_LR=1.0, STEPS=[0, 10], LRS=[1, 0.1], MAX_EPOCH=5.0
    )
    assert lr(0.0) == lr(0.99) == 1.0


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ({"LR_POLICY": "cosin"}, "LR_POLICY is 'cosin'; did you mean 'cosine'"),
        ({"LR_POLICY": "steps_with_relative_lrs", "STEPS": [0, 5], "LRS": [1.0]}, "same length"),
        ({"LR_POLICY": "steps_with_relative_lrs", "STEPS": [3, 5], "LRS": [1.0, 0.1]}, "rise from 0"),
        ({"MAX_EPOCH": 5.0, "WARMUP_EPOCHS": 5.0}, "WARMUP_EPOCHS"),
        ({"MAX_EPOCH": 0.0}, "MAX_EPOCH"),
    ],
)
def test_settings_that_make_no_schedule(solver, message):
    with pytest.raises(UserError, match=message):
        schedule(**solver)


def test_rates_for_a_reference_batch():
    cfg = get_cfg()
    cfg.SOLVER.update({"BASE_LR": 0.4, "COSINE_END_LR": 0.04, "WARMUP_START_LR": 0.02, "WARMUP_EPOCHS": 1.0})
    cfg.SOLVER.update({"MAX_EPOCH": 10.0, "IMS_PER_BATCH": 64})
    given = build_lr_schedule(cfg)
    cfg.SOLVER.REFERENCE_BATCH = 256
    scaled = build_lr_schedule(cfg)
    assert (scaled(0), scaled(1.0)) == pytest.approx((0.005, 0.01))
    for where in (0.05, 0.1, 0.5, 0.9):
        assert scaled(where) == pytest.approx(given(where) / 4)
    assert cfg.SOLVER.BASE_LR == 0.4
