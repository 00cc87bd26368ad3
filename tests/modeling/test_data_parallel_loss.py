"""Two processes with uneven boxes get the gradient of one process with all of them."""

from __future__ import annotations

import datetime

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from modist_det.modeling import ActionDetector, ResNet3D, RoIActionHead
from modist_det.modeling.losses import bce_with_logits

# Boxes per clip of the global batch; the first clip goes to rank 0, the second to rank 1. A process
# without boxes, one box in all, none at all.
CASES = [(3, 1), (2, 0), (0, 1), (0, 0)]


def _model() -> ActionDetector:
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=4, norm="none", zero_init_final_norm=False)
    head = RoIActionHead(backbone.out_channels, 2, 32, dropout=0.0)
    return ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3)


def _batch(counts) -> dict:
    generator = torch.Generator().manual_seed(sum(counts))
    return {
        "video": torch.randint(0, 256, (2, 3, 2, 32, 32), generator=generator, dtype=torch.uint8),
        "boxes": [
            torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(n, 1) + torch.arange(n).view(-1, 1) for n in counts
        ],
        "labels": [torch.randint(0, 2, (n, 2), generator=generator).float() for n in counts],
    }


def _step(model, batch) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = model(batch)["loss_action"]
    loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()]


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    model = DistributedDataParallel(_model())
    results = []
    for counts in CASES:
        batch = {name: value[rank : rank + 1] for name, value in _batch(counts).items()}
        results.append(_step(model, batch))
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(_worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_gradients_and_loss_are_those_of_one_process(results, case):
    loss, gradients = _step(_model(), _batch(CASES[case]))
    assert (results[0][case][0] + results[1][case][0]) / 2 == pytest.approx(loss, rel=1e-5)
    for rank in range(2):
        for got, expected in zip(results[rank][case][1], gradients, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)
    if sum(CASES[case]):
        assert max(gradient.abs().max() for gradient in gradients) > 1e-4
