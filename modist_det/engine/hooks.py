"""Hooks of the training loop: schedule, weight averaging, evaluation, logging, checkpoints, stopping."""

from __future__ import annotations

import functools
import logging
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from fvcore.common.param_scheduler import ParamScheduler
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from ..checkpoint.checkpointer import Checkpointer
from ..checkpoint.run_folder import BEST
from ..utils import comm
from ..utils.errors import UserError, nearest
from ..utils.progress import progress_bar
from ..utils.signals import Stopped, heard, stop_signals
from .metrics import NonFiniteError, TensorBoardWriter, Writer
from .trainer import Hook, Trainer

__all__ = [
    "AverageHook",
    "BestHook",
    "CheckpointHook",
    "EvaluationHook",
    "FollowsProgress",
    "LogHook",
    "PeriodicHook",
    "PictureHook",
    "ProgressHook",
    "ScheduleHook",
    "StatisticsHook",
    "StopOnSignalHook",
    "is_due",
]

logger = logging.getLogger(__name__)

# Signals from a terminal and a launcher (torchrun) within this many seconds count as one.
_ONE_SIGNAL = 1.0


def is_due(iteration: int, period: float) -> bool:
    """Whether step ``iteration`` (from 1) completes a multiple of ``period`` steps.

    ``period`` may be fractional (epochs of a fractional number of steps); 0 or less is never due.
    """
    return period > 0 and math.floor(iteration / period) > math.floor((iteration - 1) / period)


@runtime_checkable
class FollowsProgress(Protocol):
    """A model with an internal schedule."""

    def set_progress(self, progress: float) -> None:
        """Called before each step with the training progress in [0, 1]."""


class ScheduleHook(Hook):
    """Before each step, sets the learning rate to ``schedule(progress)`` and passes the progress to the model.

    Args:
        schedule: learning rate at a progress in [0, 1].
        total: steps of the whole run: ``MAX_EPOCH`` times the steps per epoch, possibly fractional.
        model: receives the progress if it implements :class:`FollowsProgress`.
    """

    def __init__(self, schedule: ParamScheduler, total: float, model: nn.Module | None = None) -> None:
        self.schedule = schedule
        self.total = total
        self.follower = model if isinstance(model, FollowsProgress) else None

    def before_step(self, trainer: Trainer) -> None:
        progress = min(trainer.iteration / self.total, 1.0)
        if self.follower is not None:
            self.follower.set_progress(progress)
        rate = self.schedule(progress)
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)


class AverageHook(Hook):
    """Updates an exponential moving average of the weights."""

    def __init__(self, averaged: torch.optim.swa_utils.AveragedModel, model: nn.Module) -> None:
        self.averaged = averaged
        self.model = model

    def after_step(self, trainer: Trainer) -> None:
        self.averaged.update_parameters(self.model)


class PeriodicHook(Hook):
    """Base class for work every ``period`` steps (possibly fractional) and after the last one.

    Args:
        missing: also work before the first step, because the run was killed during an evaluation.
    """

    def __init__(self, period: float, missing: bool = False) -> None:
        self.period = period
        self.missing = missing

    def before_train(self, trainer: Trainer) -> None:
        if self.missing:
            self.work(trainer)

    def after_step(self, trainer: Trainer) -> None:
        if trainer.iteration == trainer.max_iter or is_due(trainer.iteration, self.period):
            self.work(trainer)

    def work(self, trainer: Trainer) -> None:
        raise NotImplementedError


class EvaluationHook(PeriodicHook):
    """Evaluates every ``period`` steps and after the last one; ``results`` has the latest results.

    Place it after the checkpoint hook, so that the steps before an evaluation are saved even if it fails.

    Args:
        evaluate: ``evaluate(iteration)`` returns the metrics of each test set.
        period, missing: see :class:`PeriodicHook`.
    """

    def __init__(
        self,
        evaluate: Callable[[int], dict[str, dict[str, Any]]],
        period: float,
        writers: Sequence[Writer],
        missing: bool = False,
    ) -> None:
        super().__init__(period, missing)
        self.evaluate = evaluate
        self.writers = writers
        self.results: dict[str, dict[str, Any]] = {}

    def before_train(self, trainer: Trainer) -> None:
        if self.missing:
            if trainer.iteration == trainer.max_iter:
                logger.info("all %d steps are already done: only evaluating", trainer.max_iter)
            else:
                logger.info(
                    "the evaluation after %d steps was interrupted: evaluating now", trainer.iteration
                )
        super().before_train(trainer)

    def work(self, trainer: Trainer) -> None:
        trainer.losses.flush()
        with trainer.stoppable():
            self.results = self.evaluate(trainer.iteration)
        self.use(trainer)
        values = {
            f"{test_set}/{name}": value
            for test_set, metrics in self.results.items()
            for name, value in metrics.items()
            if isinstance(value, (int, float, str))
        }
        for writer in self.writers if values else ():
            writer.write(trainer.iteration, values)

    def use(self, trainer: Trainer) -> None:
        """Called after each evaluation. If this fails or the run is killed here, a resumed run evaluates again."""


class LogHook(Hook):
    """After the first step of a run and every ``period`` steps, sends losses, learning rate, times, ETA and memory to
    all writers."""

    def __init__(self, period: int, steps_per_epoch: int, writers: Sequence[Writer]) -> None:
        self.period = period
        self.steps_per_epoch = steps_per_epoch
        self.writers = writers
        self._times: list[tuple[float, float]] = []

    def after_step(self, trainer: Trainer) -> None:
        self._times.append((trainer.step_seconds, trainer.data_seconds))
        if trainer.iteration not in (1, trainer.max_iter) and trainer.iteration % self.period:
            return
        # A collective call: all ranks take part, but only the main process has writers.
        losses = trainer.losses.take_means()
        step, data = (sum(column) / len(self._times) for column in zip(*self._times, strict=True))
        self._times = []
        values = {
            "epoch": trainer.iteration / self.steps_per_epoch,
            **losses,
            "lr": max(group["lr"] for group in trainer.optimizer.param_groups),
            "time": step,
            "data_time": data,
            "eta_seconds": (trainer.max_iter - trainer.iteration) * step,
            "memory_mb": _peak_memory_mb(),
        }
        for writer in self.writers:
            writer.write(trainer.iteration, values)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class PictureHook(PeriodicHook):
    """Every ``period`` steps and after the last one, writes the images that ``draw(iteration)`` returns by name."""

    def __init__(
        self,
        draw: Callable[[int], Mapping[str, NDArray[np.uint8]]],
        period: float,
        writer: TensorBoardWriter,
    ) -> None:
        super().__init__(period)
        self.draw = draw
        self.writer = writer

    def work(self, trainer: Trainer) -> None:
        with trainer.stoppable():
            self.writer.write_pictures(trainer.iteration, self.draw(trainer.iteration))


def _peak_memory_mb() -> float:
    """Peak memory so far: of the GPU if there is one, otherwise of this process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class StatisticsHook(PeriodicHook):
    """Before each evaluation, calls ``compute(iteration)`` to recompute the statistics of the evaluated and saved
    model."""

    def __init__(self, compute: Callable[[int], None], period: float, missing: bool = False) -> None:
        super().__init__(period, missing)
        self.compute = compute

    def work(self, trainer: Trainer) -> None:
        with trainer.stoppable():
            self.compute(trainer.iteration)


class CheckpointHook(PeriodicHook):
    """Saves every ``period`` steps, after the last one, and when training is asked to stop.

    Args:
        state: returns the content of a checkpoint; called on all processes, of which the main one saves it.
    """

    def __init__(
        self, checkpointer: Checkpointer, state: Callable[[Trainer], dict[str, Any]], period: float
    ) -> None:
        super().__init__(period)
        self.checkpointer = checkpointer
        self.state = state
        self._saved_at = -1

    def after_train(self, trainer: Trainer) -> None:
        if self._saved_at != trainer.iteration:
            self.work(trainer)

    def work(self, trainer: Trainer) -> None:
        trainer.losses.flush()
        state = self.state(trainer)
        if comm.is_main_process():
            _check_finite(state["model"], trainer.iteration)
            path = self.checkpointer.save(trainer.iteration, state)
            logger.info("saved %s", path)
        self._saved_at = trainer.iteration


class BestHook(EvaluationHook):
    """Evaluates, keeps the checkpoint with the best metric, and ends training if several evaluations in a row bring no
    better one.

    The record is in the best checkpoint, so a resumed run has it. (If that is ahead of the steps resumed from, they are
    repeated exactly, and reach it again.)

    Args:
        evaluate, period, writers, missing: see :class:`EvaluationHook`.
        metric: ``<test set>/<name>``, or a name alone, of the first test set that has it; "auto": the first metric of
            the first test set. Higher is better. The record of another metric does not count.
        patience: evaluations without a better metric after which training ends; 0: never.
        state: returns the content of a checkpoint; called on the main process only.
    """

    def __init__(
        self,
        evaluate: Callable[[int], dict[str, dict[str, Any]]],
        period: float,
        writers: Sequence[Writer],
        missing: bool = False,
        *,
        metric: str,
        patience: int,
        checkpointer: Checkpointer,
        state: Callable[[Trainer], dict[str, Any]],
    ) -> None:
        super().__init__(evaluate, period, writers, missing)
        self.metric = metric
        self.patience = patience
        self.checkpointer = checkpointer
        self.state = state
        self.name, self.value, self.iteration = "", -math.inf, 0  # of the best evaluation so far

    def before_train(self, trainer: Trainer) -> None:
        best = self.checkpointer.load_best() if trainer.iteration and comm.is_main_process() else None
        if best is not None and _is_meant(self.metric, best["best"]["metric"]):
            self.name, self.value = best["best"]["metric"], best["best"]["value"]
            self.iteration = best["iteration"]
        super().before_train(trainer)
        self._end_if_no_better(trainer)

    def after_train(self, trainer: Trainer) -> None:
        if self.name:
            logger.info(
                "the best of the evaluations: %s %.4f after %d steps, in %s; a maximum on this data is optimistic",
                self.name,
                self.value,
                self.iteration,
                self.checkpointer.folder / BEST,
            )

    def use(self, trainer: Trainer) -> None:
        if comm.is_main_process():
            name, value = _find_metric(self.results, self.metric)
            if value > self.value:
                state = self.state(trainer)
                _check_finite(state["model"], trainer.iteration)
                path = self.checkpointer.save_best(state | {"best": {"metric": name, "value": value}})
                self.name, self.value, self.iteration = name, value, trainer.iteration
                logger.info("the best %s so far, %.4f: saved %s", name, value, path)
        self._end_if_no_better(trainer)

    def _end_if_no_better(self, trainer: Trainer) -> None:
        # Whether to go on is decided together.
        self.name, self.value, self.iteration = comm.broadcast_object((self.name, self.value, self.iteration))
        period = self.period
        since = math.floor(trainer.iteration / period) - math.floor(self.iteration / period) if period else 0
        if self.patience and self.name and since >= self.patience and trainer.iteration < trainer.max_iter:
            logger.info(
                "training ends early after %d of %d steps: %d evaluations without a better %s (SOLVER.PATIENCE)",
                trainer.iteration,
                trainer.max_iter,
                since,
                self.name,
            )
            trainer.max_iter = trainer.iteration


def _is_meant(wanted: str, name: str) -> bool:
    """Whether SOLVER.BEST_METRIC ``wanted`` may mean the metric ``name`` (with test set)."""
    return wanted in ("auto", name, name.partition("/")[2])


def _find_metric(results: Mapping[str, Mapping[str, Any]], wanted: str) -> tuple[str, float]:
    """Name with test set and value of the metric that decides which checkpoint is best."""
    numbers = {
        f"{test_set}/{name}": float(value)
        for test_set, metrics in results.items()
        for name, value in metrics.items()
        if isinstance(value, (int, float))
    }
    names = [name for name in numbers if _is_meant(wanted, name)]
    if not names:
        without_set = [name.partition("/")[2] for name in numbers]
        raise UserError(
            f"SOLVER.BEST_METRIC: the evaluation has no {wanted!r}{nearest(wanted, without_set)} (metrics: "
            f"{', '.join(list(numbers)[:12])})"
        )
    return names[0], numbers[names[0]]


def _check_finite(weights: Mapping[str, torch.Tensor], iteration: int) -> None:
    floating = {
        name: tensor.isfinite().all() for name, tensor in weights.items() if tensor.is_floating_point()
    }
    if floating and not torch.stack(list(floating.values())).all():
        bad = [name for name, finite in floating.items() if not finite]
        raise NonFiniteError(
            f"weights are not finite after {iteration} steps ({len(bad)} tensors, the first {bad[0]}); "
            "lower SOLVER.BASE_LR, warm up longer, or clip gradients (SOLVER.CLIP_GRADIENTS)"
        )


class StopOnSignalHook(Hook):
    """Stops training on SIGTERM, SIGINT or SIGHUP, so that the checkpoint hook saves: after the current step, or at
    once while training waits for data or evaluates.

    Several processes agree on the step by checking together every ``agree_period`` steps.
    A second signal acts at once, as without this hook. A signal counts twice if the wait for a batch takes longer than
    ``patience`` seconds. ``trainer.stop_signal`` is the signal's number or 0.
    """

    def __init__(self, agree_period: int = 20, patience: float = 30.0) -> None:
        self.agree_period = agree_period
        self.patience = patience
        self._previous: dict[int, Any] = {}
        self._closed = threading.Event()
        self._came = 0.0
        self._insisting: threading.Thread | None = None

    def before_train(self, trainer: Trainer) -> None:
        if threading.current_thread() is not threading.main_thread():
            logger.debug("not the main thread: signals are not handled")
            return
        self._closed.clear()
        for number in stop_signals():
            self._previous[number] = signal.signal(number, functools.partial(self._on_signal, trainer))

    def after_step(self, trainer: Trainer) -> None:
        if comm.get_world_size() == 1:
            trainer.stop_requested = bool(trainer.stop_signal)
        elif trainer.iteration % self.agree_period == 0:
            trainer.stop_signal = max(comm.all_gather(trainer.stop_signal))
            trainer.stop_requested = bool(trainer.stop_signal)

    def close(self) -> None:
        self._closed.set()
        if self._insisting is not None:
            # It holds the trainer. Were it the last to, it would free tensors while Python ends, and abort.
            self._insisting.join()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _on_signal(self, trainer: Trainer, number: int, frame: Any) -> None:
        heard()
        now = time.monotonic()
        if trainer.stop_signal:
            if now - self._came < _ONE_SIGNAL:
                return
            previous = self._previous[number]
            if callable(previous):
                previous(number, frame)
            raise Stopped(number)
        trainer.stop_signal, self._came = number, now
        if trainer.may_stop_now:
            raise Stopped(number)
        logger.warning("%s: stopping after this step; the checkpoint is saved", signal.Signals(number).name)
        self._insisting = threading.Thread(target=self._insist, args=(trainer, number), daemon=True)
        self._insisting.start()

    def _insist(self, trainer: Trainer, number: int) -> None:
        """Send the signal again if the step does not end because no data arrives."""
        while not self._closed.wait(min(self.patience / 10, 1.0)):
            since = trainer.waiting_since
            if since is not None and time.monotonic() - max(since, self._came) > self.patience:
                os.kill(os.getpid(), number)


class ProgressHook(Hook):
    """Shows a progress bar of the steps on the main process."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def before_train(self, trainer: Trainer) -> None:
        self._bar = progress_bar(
            "training", "step", trainer.max_iter, initial=trainer.iteration, show=comm.is_main_process()
        )

    def after_step(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
