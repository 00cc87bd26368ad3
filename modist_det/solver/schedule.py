"""The learning rate as a pure function of training progress in [0, 1].

The schedules are those of fvcore. This module adds PySlowFast's warm-up, in which the rate rises linearly to the value
of the schedule at the end of the warm-up.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)

from ..core import COUNT, NOT_NEGATIVE, POSITIVE, CfgNode, Key, ListOf, add_section
from ..utils.errors import UserError, nearest

__all__ = ["RelativeSteps", "build_lr_schedule", "with_warmup"]

add_section(
    "SOLVER",
    # Clips per optimizer step, over all processes and accumulation steps.
    IMS_PER_BATCH=Key(64, COUNT),
    # Clips a step for which the learning rates are given; for IMS_PER_BATCH clips they are larger or smaller in
    # proportion. 0: they are as given. Schedules count epochs, so they scale by themselves.
    REFERENCE_BATCH=Key(0, NOT_NEGATIVE),
    MAX_EPOCH=Key(20.0, POSITIVE),  # may be fractional
    LR_POLICY="cosine",  # or "steps_with_relative_lrs"
    COSINE_END_LR=Key(0.0, NOT_NEGATIVE),
    # The learning rate is BASE_LR * LRS[i] from epoch STEPS[i] on; STEPS begins with 0.
    STEPS=Key([], ListOf(float, limit=NOT_NEGATIVE)),
    LRS=Key([], ListOf(float, limit=NOT_NEGATIVE)),
    WARMUP_EPOCHS=Key(0.0, NOT_NEGATIVE),
    WARMUP_START_LR=Key(0.01, NOT_NEGATIVE),
)


class RelativeSteps(ParamScheduler):
    """``base_lr * lrs[i]`` from epoch ``steps[i]`` on (PySlowFast's ``steps_with_relative_lrs``).

    Example::

        schedule = RelativeSteps(0.1, [0, 10, 15], [1, 0.1, 0.01], max_epoch=20)
        schedule(12 / 20)  # 0.01
    """

    def __init__(self, base_lr: float, steps: list[float], lrs: list[float], max_epoch: float) -> None:
        if not steps or len(steps) != len(lrs) or steps[0] != 0 or sorted(set(steps)) != list(steps):
            raise UserError(
                f"SOLVER.STEPS {steps} and SOLVER.LRS {lrs} must have the same length, and STEPS must rise from 0"
            )
        # Rounding errors of the division may put a step's first iteration just before it.
        self._starts = [step / max_epoch - 1e-9 for step in steps]
        self._values = [base_lr * lr for lr in lrs]

    def __call__(self, where: float) -> float:
        return self._values[bisect.bisect_right(self._starts, where) - 1]


def with_warmup(policy: ParamScheduler, start_value: float, warmup_progress: float) -> ParamScheduler:
    """``policy`` with a linear warm-up from ``start_value`` to the policy's value at ``warmup_progress``."""
    if warmup_progress <= 0:
        return policy
    return CompositeParamScheduler(
        [LinearParamScheduler(start_value, policy(warmup_progress)), policy],
        lengths=[warmup_progress, 1 - warmup_progress],
        interval_scaling=["rescaled", "fixed"],
    )


_POLICIES: dict[str, Callable[[CfgNode], ParamScheduler]] = {
    "cosine": lambda solver: CosineParamScheduler(solver.BASE_LR, solver.COSINE_END_LR),
    "steps_with_relative_lrs": lambda solver: RelativeSteps(
        solver.BASE_LR, solver.STEPS, solver.LRS, solver.MAX_EPOCH
    ),
}


def build_lr_schedule(cfg: CfgNode) -> ParamScheduler:
    """The schedule of ``cfg.SOLVER``; call it with ``epoch / MAX_EPOCH``, a number in [0, 1]."""
    solver = cfg.SOLVER
    if solver.MAX_EPOCH <= 0:
        raise UserError(f"SOLVER.MAX_EPOCH is {solver.MAX_EPOCH}; it must be above 0")
    if solver.LR_POLICY not in _POLICIES:
        raise UserError(
            f"SOLVER.LR_POLICY is {solver.LR_POLICY!r}{nearest(solver.LR_POLICY, _POLICIES)} "
            f"(known: {', '.join(_POLICIES)})"
        )
    if solver.REFERENCE_BATCH:
        solver = solver.clone()
        for key in ("BASE_LR", "COSINE_END_LR", "WARMUP_START_LR"):
            solver[key] *= solver.IMS_PER_BATCH / solver.REFERENCE_BATCH
    policy = _POLICIES[solver.LR_POLICY](solver)
    if solver.WARMUP_EPOCHS >= solver.MAX_EPOCH:
        raise UserError(
            f"SOLVER.WARMUP_EPOCHS is {solver.WARMUP_EPOCHS}, but must be less than MAX_EPOCH ({solver.MAX_EPOCH})"
        )
    return with_warmup(policy, solver.WARMUP_START_LR, solver.WARMUP_EPOCHS / solver.MAX_EPOCH)
