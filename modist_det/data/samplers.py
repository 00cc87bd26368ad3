"""The order of records and their distribution over processes. Stateless except for the position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError

__all__ = ["EvalSampler", "Key", "TrainSampler", "iterations_per_epoch", "training_steps"]

Key = tuple[int, int]  # (epoch, slot): slot s of N records shows record s % N


def iterations_per_epoch(size: int, batch_size: int) -> int:
    """Full batches in ``size`` records, at least one. An incomplete last batch is dropped."""
    return max(1, size // batch_size)


def training_steps(size: int, batch_size: int, epochs: float) -> int:
    """Steps of a run of ``epochs``, which may be fractional; at least one."""
    return max(1, round(epochs * iterations_per_epoch(size, batch_size)))


class TrainSampler:
    """An endless stream of this rank's batches of (epoch, slot) keys.

    Each epoch is a permutation drawn from (seed, epoch). A dataset smaller than one batch is repeated to fill it: the
    repeats of record ``i`` of N have the slots ``i + N``, ``i + 2 N``, ..., so that each is augmented differently.
    Iteration ``i`` uses the ``i``-th global batch, divided into ``accumulation_steps`` parts, each of which is
    divided among the ranks. Global batches therefore do not depend on the number of processes or accumulation
    steps, and a stream that starts at iteration ``k`` continues one that started at 0.

    Args:
        size: number of records.
        batch_size: records per iteration, over all ranks and accumulation steps.
        start_iteration: iterations already done.
        groups: int (size,), group of each record; an epoch then takes the groups in random order, ``at_a_time`` of
            them, and mixes the records of these. None: it mixes all.

    Raises:
        UserError: there are no records, or the batch cannot be divided equally.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_iteration: int = 0,
        accumulation_steps: int = 1,
        groups: NDArray[np.int64] | None = None,
        at_a_time: int = 1,
    ) -> None:
        if size < 1:
            raise UserError("there is nothing to train on (DATASETS.TRAIN)")
        shares = world_size * accumulation_steps
        if batch_size < 1 or batch_size % shares:
            raise UserError(
                f"SOLVER.IMS_PER_BATCH {batch_size} cannot be shared equally by {world_size} processes x "
                f"{accumulation_steps} accumulation steps; make it a multiple of {shares}"
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start_iteration = start_iteration
        self.accumulation_steps = accumulation_steps
        self.groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self.at_a_time = at_a_time

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = iterations_per_epoch(self.size, self.batch_size)
        share = self.batch_size // (self.world_size * self.accumulation_steps)
        epoch, iteration = divmod(self.start_iteration, per_epoch)
        while True:
            order = self._order(epoch)
            for i in range(iteration, per_epoch):
                batch = order[i * self.batch_size : (i + 1) * self.batch_size]
                parts = batch.reshape(self.accumulation_steps, self.world_size, share)
                for part in parts[:, self.rank].tolist():
                    yield [(epoch, slot) for slot in part]
            epoch, iteration = epoch + 1, 0

    def _order(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, epoch))
        permutation = rng.permutation(self.size)
        if self.groups is not None:
            turn = rng.permutation(self.groups.max() + 1) // self.at_a_time
            permutation = permutation[np.argsort(turn[self.groups[permutation]], kind="stable")]
        place = np.arange(max(self.size, self.batch_size))
        return permutation[place % self.size] + place // self.size * self.size


class EvalSampler:
    """This rank's contiguous shard of ``size`` records; over all ranks each record occurs exactly once.

    Shard sizes differ by at most one and may be 0; no record is repeated to even them out.
    """

    def __init__(self, size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.start = size * rank // world_size
        self.stop = size * (rank + 1) // world_size

    def __iter__(self) -> Iterator[Key]:
        return ((0, index) for index in range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start
