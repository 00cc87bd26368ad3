"""Loaders: records and a mapper in, batches out.

A sample depends only on (seed, epoch, slot). Any number of workers or processes therefore gives the same samples, and
a resumed run sees the same samples as an uninterrupted one.

Example::

    records = DatasetCatalog.get("puppets_train").records("ground_truth")
    loader = build_train_loader(records, mapper, batch_size=16, num_workers=2)
    batch = next(BadVideoMonitor().watch(loader))
    batch["video"]   # uint8 (16, 3, T, H, W)
    batch["boxes"]   # list of 16 float (N, 4)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..core import COUNT, NOT_NEGATIVE, SHARE, Key, Limit, add_section
from ..structures.samples import BadVideo, Batch, Collate, Mapper, Sample
from ..utils.errors import UserError
from ..video.packed import shards_of
from ..video.reader import VideoError
from .bad_videos import BadVideoMonitor, describe_bad_videos, num_samples
from .samplers import EvalSampler, TrainSampler, iterations_per_epoch
from .samplers import Key as SampleKey
from .workers import init_worker, read_batches, share, worker_context

__all__ = [
    "BadVideoMonitor",
    "Batch",
    "Item",
    "MappedDataset",
    "TestLoader",
    "build_test_loader",
    "build_train_loader",
    "collate",
    "collate_by_size",
    "iterations_per_epoch",
    "stack_samples",
]

add_section(
    "DATALOADER",
    NUM_WORKERS=Key(2, Limit(0, 1000)),
    PREFETCH_FACTOR=Key(2, Limit(1, 10_000)),
    # Videos packed in shards (tools/pack_videos.py): shards that an epoch mixes at once; 0: all, which means a random
    # place for each clip. Others are read shard by shard, for a disk or server that is slow to seek.
    SHARDS_AT_A_TIME=Key(0, NOT_NEGATIVE),
    PIN_MEMORY=True,  # has no effect on the CPU
    # The run stops with a list when more than this share of the videos asked for cannot be read.
    MAX_BAD_VIDEO_RATE=Key(0.01, SHARE),
)
# Per process: keyframes (detection), or videos with all their views (classification).
add_section("TEST", BATCH_SIZE=Key(8, COUNT))

# Entries of one shape in all samples of a batch; the others stay lists.
_STACKED = {"video", "motion", "video_number"}
# Records tried in place of one whose video cannot be read.
_REPLACEMENTS = 10


class Item(NamedTuple):
    """The result of :class:`MappedDataset` for one key."""

    sample: Sample | None  # None if no video could be read
    bad_videos: list[BadVideo]  # encountered on the way


class MappedDataset(Dataset):
    """Maps records to samples, indexed by (epoch, slot); see :class:`~modist_det.data.samplers.TrainSampler`.

    Args:
        records: inputs of the mapper.
        mapper: ``mapper(record, rng) -> sample``; raises ``VideoError`` for a video that cannot be read.
        seed: seeds the mapper's generator, together with the key.
        replace_bad: replace an unreadable sample with another one, drawn with the same generator (training); otherwise
            its item has no sample (evaluation).
    """

    def __init__(
        self, records: Sequence, mapper: Mapper, *, seed: int = 0, replace_bad: bool = False
    ) -> None:
        self.records = records
        self.mapper = mapper
        self.seed = seed
        self.tries = 1 + _REPLACEMENTS if replace_bad else 1

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: SampleKey) -> Item:
        epoch, slot = key
        index = slot % len(self.records)
        rng = np.random.default_rng((self.seed, epoch, slot))
        bad: list[BadVideo] = []
        for _ in range(self.tries):
            try:
                return Item(self.mapper(self.records[index], rng), bad)
            except VideoError as error:
                bad.append((error.path, error.reason))
            index = int(rng.integers(len(self.records)))
        return Item(None, bad)

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[Item] | UserError:
        """Called by the loader. A ``UserError`` is returned, because one raised in a worker arrives as a traceback."""
        try:
            return [self[key] for key in keys]
        except UserError as error:
            return error


def stack_samples(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate samples with clips of one size: stack clips, motion and video numbers, keep the rest as lists."""
    batch: dict[str, Any] = {name: [sample[name] for sample in samples] for name in samples[0]}
    for name in _STACKED & batch.keys():
        batch[name] = torch.stack(batch[name])
    return batch


def collate(items: Sequence[Item], stack: Collate = stack_samples) -> Batch:
    """Collate the items that have a sample; the others only add to ``bad_videos``."""
    samples = [item.sample for item in items if item.sample is not None]
    batch = stack(samples) if samples else {}
    return cast(Batch, {**batch, "bad_videos": [bad for item in items for bad in item.bad_videos]})


def collate_by_size(items: Sequence[Item], stack: Collate = stack_samples) -> list[Batch]:
    """Group items by clip size into batches, in order of first appearance.

    The first batch lists the bad videos. If no item has a sample, the only batch has nothing but ``bad_videos``.
    """
    groups: dict[Any, list[Item]] = {}
    for item in items:
        if item.sample is not None:
            size = getattr(item.sample.get("video"), "shape", None)
            groups.setdefault(size, []).append(Item(item.sample, []))
    batches = [collate(group, stack) for group in groups.values()] or [collate([])]
    batches[0]["bad_videos"] = [bad for item in items for bad in item.bad_videos]
    return batches


def build_train_loader(
    records: Sequence,
    mapper: Mapper,
    *,
    stack: Collate = stack_samples,
    batch_size: int,
    seed: int = 0,
    num_workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = True,
    start_iteration: int = 0,
    accumulation_steps: int = 1,
    rank: int = 0,
    world_size: int = 1,
    shards_at_a_time: int = 0,
) -> Iterator[Batch]:
    """An endless iterator over this rank's training batches.

    Args:
        shards_at_a_time: of packed videos: how many shards an epoch mixes at once; 0: all.
        stack: samples -> batch.
        batch_size: samples per optimizer step, over all ranks and accumulation steps; a step takes
            ``accumulation_steps`` batches of ``batch_size / (world_size * accumulation_steps)``.
        start_iteration: optimizer steps already made.

    Raises:
        UserError: there are no records, the batch size is not divisible, or (while iterating) the mapper raised it or
            too many videos in a row could not be read.
    """
    sampler = TrainSampler(
        len(records),
        batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        start_iteration=start_iteration,
        accumulation_steps=accumulation_steps,
        groups=shards_of([record.video for record in records]) if shards_at_a_time else None,
        at_a_time=shards_at_a_time,
    )
    loader = _make_loader(
        MappedDataset(records, mapper, seed=seed, replace_bad=True),
        partial(collate, stack=stack),
        num_workers,
        prefetch_factor,
        pin_memory,
        batch_sampler=sampler,
    )
    return _full_batches(read_batches(loader), batch_size // (world_size * accumulation_steps))


def _collate(items: list[Item] | UserError, collate_fn: Callable) -> Any:
    return items if isinstance(items, UserError) else share(collate_fn(items))


def _full_batches(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    for batch in batches:
        if num_samples(batch) < size:
            raise UserError(
                f"{1 + _REPLACEMENTS} videos drawn one after the other could not be read: "
                f"{describe_bad_videos(batch['bad_videos'])}"
            )
        yield batch


def build_test_loader(
    records: Sequence,
    mapper: Mapper,
    *,
    stack: Collate = stack_samples,
    batch_size: int,
    seed: int = 0,
    num_workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = True,
    rank: int = 0,
    world_size: int = 1,
) -> TestLoader:
    """This rank's shard of a test set; over all ranks each record occurs exactly once.

    Args:
        stack: samples of one size -> batch.
        batch_size: clips per batch of this rank.
        seed: for mappers that also draw random numbers in evaluation.
    """
    loader = _make_loader(
        MappedDataset(records, mapper, seed=seed),
        partial(collate_by_size, stack=stack),
        num_workers,
        prefetch_factor,
        pin_memory,
        sampler=EvalSampler(len(records), rank=rank, world_size=world_size),
        batch_size=batch_size,
    )
    return TestLoader(loader)


class TestLoader:
    """Batches of one test set; each ``iter`` starts a new pass.

    Clips of different sizes never share a batch, so a batch may be smaller than requested. A batch without a
    readable clip has no ``video``: iterate over ``BadVideoMonitor.watch(loader)``, which counts and drops it.
    """

    __test__ = False  # not a test case, despite its name

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    @property
    def num_clips(self) -> int:
        """Clips per pass, including those that cannot be read."""
        return len(self.loader.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:
        return (batch for batches in read_batches(self.loader) for batch in batches)


def _make_loader(
    dataset: MappedDataset,
    collate_fn: Callable,
    num_workers: int,
    prefetch_factor: int,
    pin_memory: bool,
    **sampling: Any,
) -> DataLoader:
    return DataLoader(
        dataset,
        collate_fn=partial(_collate, collate_fn=collate_fn),
        num_workers=num_workers,
        prefetch_factor=prefetch_factor if num_workers else None,
        pin_memory=pin_memory and torch.cuda.is_available(),
        worker_init_fn=init_worker,
        multiprocessing_context=worker_context() if num_workers else None,
        # Its own generator: making an iterator must not advance the global one.
        generator=torch.Generator(),
        **sampling,
    )
