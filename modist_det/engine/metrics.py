"""Losses and metrics of a run, buffered without a host sync per step, and the files that they are written to."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import simplejson
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..utils import comm
from ..utils.errors import UserError
from ..utils.files import atomic_path

__all__ = [
    "ConsoleWriter",
    "JSONWriter",
    "LossBuffer",
    "NonFiniteError",
    "TensorBoardWriter",
    "Writer",
    "is_evaluation",
    "is_loss",
    "read_metrics",
]

logger = logging.getLogger(__name__)

# Values with a fixed place in the log line.
_TIMING = ("epoch", "lr", "time", "data_time", "eta_seconds", "memory_mb")


class NonFiniteError(UserError):
    """A loss or weight is NaN or infinite."""


def is_loss(name: str) -> bool:
    """Whether a value returned by a model in training is minimized (``loss...``) or only logged."""
    return name.startswith("loss")


def is_evaluation(row: Mapping[str, Any]) -> bool:
    """Whether a line of the metrics file is from an evaluation, not from training."""
    return "lr" not in row


class LossBuffer:
    """Losses and other scalars of recent steps, kept on the device until :meth:`flush` fetches them together.

    A NaN or infinite loss is therefore detected at the next flush, which reports its iteration and the ids of its
    batch. The trainer flushes at every log line and before every checkpoint, so no checkpoint contains weights from
    after such a loss.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, list[str], torch.Tensor]] = []
        self._names: list[str] = []
        self._window: list[list[float]] = []

    def append(self, iteration: int, ids: list[str], losses: Mapping[str, torch.Tensor]) -> None:
        """Store the scalar losses of one step, detached."""
        names = list(losses)
        if self._names and names != self._names:
            raise ValueError(f"a step returned losses {names}, earlier steps {self._names}")
        self._names = names
        stacked = torch.stack([loss.detach().float() for loss in losses.values()])
        self._pending.append((iteration, ids, stacked))

    def flush(self) -> None:
        """Fetch and check all values on the device.

        Raises:
            NonFiniteError: a loss is NaN or infinite.
        """
        if not self._pending:
            return
        rows = torch.stack([row for _, _, row in self._pending]).tolist()
        pending, self._pending = self._pending, []
        for (iteration, ids, _), row in zip(pending, rows, strict=True):
            if not all(math.isfinite(value) for value in row):
                values = ", ".join(f"{name} {value}" for name, value in zip(self._names, row, strict=True))
                raise NonFiniteError(
                    f"the loss is not finite at iteration {iteration} ({values}); batch: {', '.join(ids)}; "
                    "lower SOLVER.BASE_LR, warm up longer, or clip gradients (SOLVER.CLIP_GRADIENTS)"
                )
            self._window.append(row)

    def take_means(self) -> dict[str, float]:
        """Mean of each value and of the total ``loss`` since the last call, over all ranks."""
        self.flush()
        if not self._window:
            return {}
        means = [sum(column) / len(column) for column in zip(*self._window, strict=True)]
        self._window = []
        every_rank = comm.all_gather(means)
        means = [sum(column) / len(column) for column in zip(*every_rank, strict=True)]
        named = dict(zip(self._names, means, strict=True))
        return {"loss": sum(value for name, value in named.items() if is_loss(name)), **named}


class Writer(Protocol):
    """Stores the values of a run."""

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        """Numbers by name; an evaluation also has texts that say what its metrics mean (``<test set>/about``)."""

    def close(self) -> None: ...


class ConsoleWriter:
    """Writes the values to the log."""

    def __init__(self, max_iter: int) -> None:
        self.max_iter = max_iter

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        if is_evaluation(values):
            return  # an evaluation; its table is already in the log
        shown = [name for name in values if name not in _TIMING]
        losses = "  ".join(f"{name} {values[name]:.4f}" for name in shown)
        logger.info(
            "step %d/%d  epoch %.2f  %s  lr %.3g  %.3f s a step (%.3f data, %.3f compute)  ETA %s  %.0f MB",
            iteration,
            self.max_iter,
            values["epoch"],
            losses,
            values["lr"],
            values["time"],
            values["data_time"],
            values["time"] - values["data_time"],
            tqdm.format_interval(values["eta_seconds"]),
            values["memory_mb"],
        )

    def close(self) -> None: ...


class JSONWriter:
    """Appends one JSON object per line to ``metrics.json``."""

    def __init__(self, path: Path, start_iteration: int, evaluates: bool = False) -> None:
        """Open the file; lines of an interrupted run that will be written again are removed.

        Args:
            start_iteration: steps already done.
            evaluates: whether the evaluation after them will be repeated.
        """
        if path.exists():
            kept = [
                row
                for row in read_metrics(path)
                if row["iteration"] < start_iteration
                or (row["iteration"] == start_iteration and not (evaluates and is_evaluation(row)))
            ]
            with atomic_path(path) as temporary:
                temporary.write_text("".join(simplejson.dumps(row) + "\n" for row in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        self._file.write(simplejson.dumps({"iteration": iteration, **values}, ignore_nan=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the lines of a ``metrics.json``; incomplete or foreign lines are skipped."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = simplejson.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and "iteration" in row:
            rows.append(row)
    return rows


class TensorBoardWriter:
    """TensorBoard scalars and images in ``OUTPUT_DIR/tensorboard``."""

    def __init__(self, folder: Path, start_iteration: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=start_iteration + 1 if start_iteration else None)

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            add = self._writer.add_text if isinstance(value, str) else self._writer.add_scalar
            add(name, value, iteration)

    def write_pictures(self, iteration: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Write images (H, W, 3), RGB, by name."""
        for name, image in pictures.items():
            self._writer.add_image(name, image, iteration, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
