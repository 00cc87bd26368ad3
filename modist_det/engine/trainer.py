"""The training loop. It is independent of data and model; hooks do everything else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..structures.samples import Batch
from ..utils import comm
from ..utils.signals import Stopped
from .metrics import LossBuffer, is_loss

__all__ = ["Hook", "Trainer", "seed_step"]


class Hook:
    """Called by :class:`Trainer` at fixed points; override what you need.

    ``trainer.iteration`` is the number of completed steps: 0 in the first ``before_step``, 1 in the first
    ``after_step``.
    """

    def before_train(self, trainer: Trainer) -> None: ...

    def before_step(self, trainer: Trainer) -> None: ...

    def after_step(self, trainer: Trainer) -> None: ...

    def after_train(self, trainer: Trainer) -> None:
        """Called when the loop ends without an error (all steps done, or stopped on request)."""

    def close(self) -> None:
        """Release files and progress bars; always called at the end."""


def seed_step(seed: int, iteration: int, rank: int) -> None:
    """Seed torch's generators for one step.

    Dropout and other random operations then depend only on (seed, iteration, rank): a resumed run equals an
    uninterrupted one, without generator states in the checkpoint.
    """
    torch.manual_seed(
        int(np.random.SeedSequence((seed, iteration, rank)).generate_state(1, np.uint64)[0] >> 1)
    )


class Trainer:
    """Runs optimizer steps up to ``max_iter``.

    Args:
        model: in training mode; called with a batch, returns a dict of scalars. Scalars named
            ``loss...`` are summed and minimized, the others only logged. May be wrapped (DDP, compile).
        optimizer: over the model's parameters.
        batches: endless iterator of batches; a step takes ``accumulation_steps`` of them.
        max_iter: total number of optimizer steps.
        start_iteration: steps already done (resume).
        seed: see :func:`seed_step`.
        autocast: creates the context in which the model runs, e.g. ``lambda: torch.autocast("cuda", torch.bfloat16)``.
        scaler: gradient scaler for float16; disabled by default.
        clip: called with the parameters after unscaling the gradients.
        hooks: called in this order.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[Batch],
        max_iter: int,
        *,
        start_iteration: int = 0,
        accumulation_steps: int = 1,
        seed: int = 0,
        autocast: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
        scaler: torch.amp.GradScaler | None = None,
        clip: Callable[[list[nn.Parameter]], None] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.batches = batches
        self.max_iter = max_iter
        self.iteration = start_iteration  # completed steps
        self.accumulation_steps = accumulation_steps
        self.seed = seed
        self.autocast = autocast
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.clip = clip
        self.hooks = list(hooks)
        self.losses = LossBuffer()
        self.data_seconds = 0.0  # of the last step, waiting for batches
        self.step_seconds = 0.0  # of the last step, in total
        self.stop_requested = False
        self.stop_signal = 0  # number of the signal that requested a stop; 0: none
        # Whether model and optimizer are in the state after ``iteration`` steps, without part of the next one.
        self.whole = True
        self.may_stop_now = False  # see stoppable()
        self.waiting_since: float | None = None  # time.monotonic() at the start of a wait for a batch
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def train(self) -> None:
        """Run the loop until ``max_iter`` steps are done or a hook sets ``stop_requested`` or is stopped.

        Raises:
            Stopped: in the middle of a step, whose state cannot be saved.
        """
        self.model.train()
        try:
            try:
                self._loop()
            except Stopped as stopped:
                if not self.whole:
                    raise
                self.stop_requested, self.stop_signal = True, stopped.number
            self.losses.flush()
            for hook in self.hooks:
                hook.after_train(self)
        finally:
            for hook in self.hooks:
                hook.close()

    def _loop(self) -> None:
        for hook in self.hooks:
            hook.before_train(self)
        while self.iteration < self.max_iter and not self.stop_requested:
            for hook in self.hooks:
                hook.before_step(self)
            self._step()
            self.iteration += 1
            self.whole = True
            for hook in self.hooks:
                hook.after_step(self)

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """A context for long operations that can be interrupted at any point without losing part of a step.

        Raises:
            Stopped: a signal has arrived or arrives in the block.
        """
        if self.stop_signal:
            raise Stopped(self.stop_signal)
        self.may_stop_now = True
        try:
            yield
        finally:
            self.may_stop_now = False

    def _next_batch(self, first: bool) -> Batch:
        """The next batch; waiting for it between two steps can be interrupted."""
        began = time.perf_counter()
        self.waiting_since = time.monotonic()
        try:
            # Several processes agree on a step after which all stop (StopOnSignalHook).
            alone = comm.get_world_size() == 1
            with self.stoppable() if first and alone else contextlib.nullcontext():
                return next(self.batches)
        finally:
            self.waiting_since = None
            self.data_seconds += time.perf_counter() - began

    def _step(self) -> None:
        began = time.perf_counter()
        self.data_seconds = 0.0
        seed_step(self.seed, self.iteration, comm.get_rank())
        self.optimizer.zero_grad(set_to_none=True)
        ids: list[str] = []
        totals: dict[str, torch.Tensor] = {}
        for part in range(self.accumulation_steps):
            batch = self._next_batch(first=part == 0)
            self.whole = False
            ids += batch["id"]
            last = part == self.accumulation_steps - 1
            # DDP reduces gradients once, with the last part's backward pass.
            parallel = self.model if isinstance(self.model, DistributedDataParallel) else None
            with contextlib.nullcontext() if last or parallel is None else parallel.no_sync():
                with self.autocast():
                    numbers = {
                        name: value / self.accumulation_steps for name, value in self.model(batch).items()
                    }
                    total = torch.stack([value for name, value in numbers.items() if is_loss(name)]).sum()
                self.scaler.scale(total).backward()
            for name, value in numbers.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            self.clip(self._parameters)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses.append(self.iteration, ids, totals)
        self.step_seconds = time.perf_counter() - began
