"""Which record comes when, in which process."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.data.samplers import EvalSampler, TrainSampler, iterations_per_epoch
from modist_det.utils.errors import UserError


def take(count: int, *args, **kwargs) -> list[list[tuple[int, int]]]:
    return list(islice(TrainSampler(*args, **kwargs), count))


@pytest.mark.parametrize(("size", "batch_size", "expected"), [(10, 3, 3), (9, 3, 3), (2, 3, 1), (1, 1, 1)])
def test_iterations_per_epoch(size, batch_size, expected) -> None:
    assert iterations_per_epoch(size, batch_size) == expected


def test_an_epoch_is_a_permutation_without_repeats() -> None:
    batches = take(6, 10, 3, seed=1)
    for epoch, part in enumerate((batches[:3], batches[3:])):
        keys = [key for batch in part for key in batch]
        assert [e for e, _ in keys] == [epoch] * 9
        assert len({i for _, i in keys}) == 9 and {i for _, i in keys} <= set(range(10))
    assert [i for b in batches[:3] for _, i in b] != [i for b in batches[3:] for _, i in b]


def test_every_record_comes_up_in_time() -> None:
    assert {i for batch in take(60, 10, 3) for _, i in batch} == set(range(10))


def test_seeds_differ() -> None:
    assert take(3, 100, 10, seed=0) != take(3, 100, 10, seed=1)
    assert take(3, 100, 10, seed=1) == take(3, 100, 10, seed=1)


def test_a_small_set_is_repeated_until_it_fills_a_batch() -> None:
    (batch,) = take(1, 3, 8)
    slots = [slot for _, slot in batch]
    indices = [slot % 3 for slot in slots]
    assert sorted(set(indices)) == [0, 1, 2] and indices[:3] == indices[3:6] and indices[6:] == indices[:2]
    assert len(set(slots)) == 8 and [slot // 3 for slot in slots] == [0, 0, 0, 1, 1, 1, 2, 2]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 40),
    share=st.integers(1, 3),
    world_size=st.integers(1, 3),
    accumulation_steps=st.integers(1, 3),
    start=st.integers(0, 12),
)
def test_processes_and_parts_and_resumption_see_the_same_batches(
    size, share, world_size, accumulation_steps, start
) -> None:
    batch_size = share * world_size * accumulation_steps
    whole = take(start + 4, size, batch_size, seed=5)[start:]
    shape = {
        "seed": 5,
        "world_size": world_size,
        "accumulation_steps": accumulation_steps,
        "start_iteration": start,
    }
    ranks = [take(4 * accumulation_steps, size, batch_size, rank=r, **shape) for r in range(world_size)]
    for i, expected in enumerate(whole):
        parts = range(i * accumulation_steps, (i + 1) * accumulation_steps)
        assert [key for part in parts for rank in ranks for key in rank[part]] == expected


def test_a_batch_that_cannot_be_shared_is_an_error() -> None:
    with pytest.raises(UserError, match="IMS_PER_BATCH 10 cannot be shared equally by 4 processes x 2"):
        TrainSampler(100, 10, world_size=4, accumulation_steps=2)


def test_no_record_is_an_error() -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        TrainSampler(0, 4)


@pytest.mark.parametrize(("size", "world_size"), [(10, 3), (2, 4), (0, 2), (7, 1), (16, 4)])
def test_shards_of_a_test_set(size, world_size) -> None:
    shards = [list(EvalSampler(size, rank=r, world_size=world_size)) for r in range(world_size)]
    assert [key for shard in shards for key in shard] == [(0, i) for i in range(size)]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert [len(EvalSampler(size, rank=r, world_size=world_size)) for r in range(world_size)] == list(
        map(len, shards)
    )
