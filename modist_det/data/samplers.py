"""Which record comes when, in which process. Plain arithmetic; no state but the position."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError

__all__ = ["EvalSampler", "Key", "TrainSampler", "iterations_per_epoch"]

Key = tuple[int, int]  # (epoch, index of the record)


def iterations_per_epoch(size: int, batch_size: int) -> int:
    """Full batches in ``size`` records; at least one. The rest of a permutation waits for the next epoch."""
    return max(1, size // batch_size)


class TrainSampler:
    """An endless stream of this rank's batches of (epoch, index) keys.

    Each epoch is a permutation drawn from (seed, epoch); a dataset smaller than one batch is repeated until it fills
    it. Iteration ``i`` takes the ``i``-th global batch, in order: first cut into ``accumulation_steps`` parts, each
    of them cut into one share a rank. So any number of processes and accumulation steps sees the
    same global batches, and a stream that starts at iteration ``k`` equals the rest of one that started at 0.

    Args:
        size: number of records.
        batch_size: records an iteration, over all ranks and accumulation steps.
        start_iteration: iterations already done.

    Raises:
        UserError: there is no record, or the batch cannot be cut into equal shares.
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
                    yield [(epoch, index) for index in part]
            epoch, iteration = epoch + 1, 0

    def _order(self, epoch: int) -> NDArray[np.int64]:
        permutation = np.random.default_rng((self.seed, epoch)).permutation(self.size)
        return np.resize(permutation, max(self.size, self.batch_size))


class EvalSampler:
    """This rank's contiguous share of ``size`` records, every record exactly once over all ranks.

    Shares differ by at most one record and may be empty: nothing is repeated to even them out.
    """

    def __init__(self, size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self.start = size * rank // world_size
        self.stop = size * (rank + 1) // world_size

    def __iter__(self) -> Iterator[Key]:
        return ((0, index) for index in range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start
