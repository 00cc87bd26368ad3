"""The loop, on a model small enough to work out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from modist_det.engine.metrics import NonFiniteError
from modist_det.engine.trainer import Hook, Trainer, seed_step


class Line(nn.Module):
    """Loss (w x - y)^2, mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch):
        return {"loss_line": ((self.w * batch["x"] - batch["y"]) ** 2).mean()}


def batches(*pairs):
    for number, (x, y) in enumerate(itertools.cycle(pairs)):
        yield {"x": torch.tensor(x), "y": torch.tensor(y), "id": [f"clip{number}"]}


def trainer(stream, max_iter, **kwargs):
    model = Line()
    return Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), stream, max_iter, **kwargs)


def test_steps_follow_the_gradient():
    run = trainer(batches(([2.0], [0.0])), 2)
    run.train()
    # d/dw (2w)^2 = 8w: w <- w (1 - 0.8)
    assert run.model.w.item() == pytest.approx(0.2**2)
    assert run.iteration == 2
    assert run.losses.take_means()["loss"] == pytest.approx((4.0 + 4 * 0.2**2) / 2)


def test_accumulation_equals_one_large_batch():
    whole = trainer(batches(([1.0, 3.0], [2.0, 1.0])), 3)
    parts = trainer(batches(([1.0], [2.0]), ([3.0], [1.0])), 3, accumulation_steps=2)
    whole.train()
    parts.train()
    assert parts.model.w.item() == pytest.approx(whole.model.w.item(), rel=1e-6)
    assert parts.losses.take_means()["loss"] == pytest.approx(whole.losses.take_means()["loss"], rel=1e-6)


def test_gradients_are_clipped_before_the_step():
    run = trainer(batches(([2.0], [0.0])), 1, clip=lambda ps: nn.utils.clip_grad_value_(ps, 1.0))
    run.train()
    assert run.model.w.item() == pytest.approx(1.0 - 0.1)


def test_a_loss_that_is_not_finite_names_iteration_and_batch():
    stream = itertools.chain(itertools.islice(batches(([1.0], [1.0])), 2), batches(([float("nan")], [0.0])))
    run = trainer(stream, 5)
    with pytest.raises(NonFiniteError, match=r"iteration 2 .*loss_line nan.*batch: clip0"):
        run.train()


class Recorder(Hook):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_train(self, trainer):
        self.calls.append("before_train")

    def before_step(self, trainer):
        self.calls.append(f"before_step {trainer.iteration}")

    def after_step(self, trainer):
        self.calls.append(f"after_step {trainer.iteration}")

    def after_train(self, trainer):
        self.calls.append("after_train")

    def close(self):
        self.calls.append("close")


def test_hooks_are_called_in_order_and_closed_even_after_an_error():
    recorder = Recorder()
    trainer(batches(([1.0], [0.0])), 2, hooks=[recorder]).train()
    assert recorder.calls == [
        *(
            "before_train",
            "before_step 0",
            "after_step 1",
            "before_step 1",
            "after_step 2",
            "after_train",
            "close",
        )
    ]
    recorder = Recorder()
    with pytest.raises(StopIteration):
        trainer(iter(()), 2, hooks=[recorder]).train()
    assert recorder.calls == ["before_train", "before_step 0", "close"]


def test_a_hook_can_stop_the_run():
    class Stop(Hook):
        def after_step(self, trainer):
            trainer.stop_requested = trainer.iteration == 3

    run = trainer(batches(([1.0], [0.0])), 10, hooks=[Stop()])
    run.train()
    assert run.iteration == 3


def test_random_numbers_of_a_step_depend_only_on_seed_iteration_and_rank():
    def draw(*key):
        seed_step(*key)
        return torch.rand(4).tolist()

    first = draw(0, 5, 1)
    torch.rand(100)
    assert draw(0, 5, 1) == first
    assert len({tuple(draw(*key)) for key in [(0, 5, 1), (1, 5, 1), (0, 6, 1), (0, 5, 0)]}) == 4


def test_gradient_scaling_leaves_the_steps_as_they_were():
    plain = trainer(batches(([2.0], [1.0])), 4)
    scaled = trainer(batches(([2.0], [1.0])), 4, scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    plain.train()
    scaled.train()
    assert scaled.model.w.item() == pytest.approx(plain.model.w.item(), rel=1e-6)


def test_only_numbers_named_loss_are_minimized():
    class WithAccuracy(Line):
        def forward(self, batch):
            return {**super().forward(batch), "accuracy": self.w * 100}

    model = WithAccuracy()
    run = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(([2.0], [0.0])), 1)
    run.train()
    assert model.w.item() == pytest.approx(0.2)
    assert run.losses.take_means() == {"loss": 4.0, "loss_line": 4.0, "accuracy": 100.0}
