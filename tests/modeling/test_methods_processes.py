"""Pretraining methods over two processes: equal states on both, and the losses of one process with the whole batch."""

from __future__ import annotations

import datetime
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from modist_det.modeling.contrastive import shuffle_batch, unshuffle_batch
from modist_det.utils.comm import machine_group
from tests.modeling.tiny_methods import tiny_batch, tiny_method

STEPS = 3
_TERMS = {"CROSS_WEIGHT": 1.0, "MOTION_WEIGHT": 0.5}
# Case -> the method and keys of its section.
CASES = {
    "MoDist": ("MoDist", _TERMS),
    "MoDist, one direction": ("MoDist", {"CROSS_DIRECTIONS": [1.0, 0.0], "CROSS_NEGATIVES": "query"}),
    "BYOL": ("BYOL", _TERMS),
    "SimCLR": ("SimCLR", _TERMS),
    "MotionRegression": ("MotionRegression", {}),
}


def batches(rank: int, world_size: int):
    """This rank's share of batches that do not depend on the number of processes."""
    for step in range(STEPS):
        whole = tiny_batch(size=4, seed=step)
        whole["video_number"] += 4 * step
        share = 4 // world_size
        yield {name: value[rank * share : (rank + 1) * share] for name, value in whole.items()}


def train(case: str, rank: int, world_size: int):
    """Losses of each step, mean over ranks; and the model's state after the last."""
    method, keys = CASES[case]
    model = tiny_method(method, **keys)
    trained = DistributedDataParallel(model, broadcast_buffers=False) if world_size > 1 else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    torch.manual_seed(rank)  # as in a run: what one rank draws for all has to be told to the others
    for batch in batches(rank, world_size):
        numbers = {name: value for name, value in trained(batch).items() if name.startswith("loss")}
        optimizer.zero_grad()
        sum(numbers.values()).backward()
        optimizer.step()
        row = torch.stack([value.detach() for value in numbers.values()])
        if world_size > 1:
            dist.all_reduce(row)
        losses.append(row / world_size)
    return torch.stack(losses), model.state_dict()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=120)
    )
    torch.save({case: train(case, rank, 2) for case in CASES}, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def work_on_machines(rank: int, folder: str) -> None:
    """Four processes as on two machines: a batch of 3 each, whose clips hold 10 x rank + place."""
    torch.set_num_threads(1)
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=4, timeout=datetime.timedelta(seconds=120)
    )
    torch.manual_seed(rank)
    clips, found = 10.0 * rank + torch.arange(3.0), {}
    for name, group in (("machine", machine_group()), ("all", None)):
        shuffled, order = shuffle_batch(clips, group)
        found[name] = (shuffled, unshuffle_batch(shuffled, order, group))
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_clips_are_shuffled_within_a_machine_or_over_all(tmp_path):
    mp.start_processes(work_on_machines, (str(tmp_path),), nprocs=4, start_method="spawn")
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(4)]
    for rank, found in enumerate(ranks):
        for _, restored in found.values():
            assert restored.tolist() == [10.0 * rank + place for place in range(3)]

    def clips_on(name: str, *members: int) -> list[float]:
        return torch.cat([ranks[rank][name][0] for rank in members]).tolist()

    first, second, everything = (
        [10.0 * r + p for r in part for p in range(3)] for part in ((0, 1), (2, 3), range(4))
    )
    assert sorted(clips_on("machine", 0, 1)) == first and sorted(clips_on("machine", 2, 3)) == second
    assert clips_on("machine", 0, 1) != first and clips_on("machine", 2, 3) != second
    assert sorted(clips_on("all", 0, 1, 2, 3)) == everything
    assert sorted(clips_on("all", 0, 1)) != first


def test_two_processes_are_one(tmp_path):
    mp.start_processes(work, (str(tmp_path),), nprocs=2, start_method="spawn")
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for case in CASES:
        (losses, first), (other_losses, second) = (rank[case] for rank in ranks)
        expected_losses, expected = train(case, 0, 1)
        torch.testing.assert_close(losses, expected_losses, rtol=0, atol=1e-5)
        torch.testing.assert_close(losses, other_losses)
        assert expected.keys() == first.keys() == second.keys()
        for name, tensor in expected.items():
            assert torch.equal(first[name], second[name]), (case, name)
            torch.testing.assert_close(first[name], tensor, rtol=1e-5, atol=1e-5)
    # Twelve keys went into queues of eight: the last eight are there, the oldest of them where the ring goes on.
    state = ranks[0]["MoDist"][1]
    for modality in ("visual", "motion"):
        assert state[f"queue.{modality}.videos"].tolist() == [8, 9, 10, 11, 4, 5, 6, 7]
        assert int(state[f"queue.{modality}.position"]) == 4
