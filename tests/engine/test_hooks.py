"""Hooks, each on a real trainer of a one-parameter model."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import pytest
import torch
from fvcore.common.param_scheduler import LinearParamScheduler
from torch import nn

from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.checkpoint.run_folder import checkpoint_in
from modist_det.engine import hooks
from modist_det.engine.metrics import JSONWriter, NonFiniteError, read_metrics
from modist_det.engine.trainer import Hook, Trainer
from modist_det.utils.errors import UserError
from modist_det.utils.signals import Stopped, stop_on_signals


class Constant(nn.Module):
    """A loss with gradient 1. A batch called "stop" sends SIGTERM while it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        if batch["id"] == ["stop"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"loss_w": self.w + 0.0}


def run(max_iter, *used, start=0, stream=None, accumulation_steps=1):
    model = Constant()
    stream = stream or ({"id": [str(n)]} for n in itertools.count())
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        stream,
        max_iter,
        start_iteration=start,
        accumulation_steps=accumulation_steps,
        hooks=used,
    )
    trainer.train()
    return trainer


def test_is_due_counts_multiples_of_a_fractional_period():
    assert [n for n in range(1, 11) if hooks.is_due(n, 2.5)] == [3, 5, 8, 10]
    assert [n for n in range(1, 7) if hooks.is_due(n, 3)] == [3, 6]
    assert not any(hooks.is_due(n, 0) for n in range(1, 5))


def test_the_schedule_sets_the_rate_before_each_step():
    trainer = run(4, hooks.ScheduleHook(LinearParamScheduler(1.0, 0.0), total=4))
    # rates 1, 0.75, 0.5, 0.25 with gradient 1
    assert trainer.model.w.item() == pytest.approx(-2.5)


def test_a_model_with_a_schedule_is_told_the_progress_before_each_step():
    model = Constant()
    told = []
    model.set_progress = told.append
    run(4, hooks.ScheduleHook(LinearParamScheduler(1.0, 0.0), total=2.5, model=model), start=1)
    assert told == [pytest.approx(0.4), pytest.approx(0.8), 1.0]


def test_work_that_an_earlier_run_missed_comes_before_the_first_step():
    done = []
    run(3, hooks.StatisticsHook(done.append, 2, missing=True), start=1)
    run(3, hooks.StatisticsHook(done.append, 2), start=1)
    assert done == [1, 2, 3, 2, 3]


def test_the_average_follows_the_weights():
    model = Constant()
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    stream = ({"id": ["a"]} for _ in itertools.count())
    Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        stream,
        3,
        hooks=[hooks.AverageHook(averaged, model)],
    ).train()
    # weights -1, -2, -3; the first update copies
    assert averaged.module.w.item() == pytest.approx(-1 * 0.25 + -2 * 0.25 + -3 * 0.5)


def test_checkpoints_come_at_their_period_and_at_the_end(tmp_path):
    checkpointer = Checkpointer(tmp_path, keep=0)
    run(5, hooks.CheckpointHook(checkpointer, lambda t: {"model": t.model.state_dict()}, period=2))
    assert [p.name for p in checkpointer.saved()] == [f"model_000000{n}.pth" for n in (2, 4, 5)]
    assert torch.load(checkpointer.path(4))["model"]["w"].item() == -4.0


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    class Break(Hook):
        def after_step(self, trainer):
            with torch.no_grad():
                trainer.model.w.fill_(float("inf"))

    checkpointer = Checkpointer(tmp_path)
    saving = hooks.CheckpointHook(checkpointer, lambda t: {"model": t.model.state_dict()}, period=1)
    with pytest.raises(NonFiniteError, match="weights are not finite after 1 steps"):
        run(3, Break(), saving)
    assert checkpointer.saved() == []


def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    checkpointer = Checkpointer(tmp_path)
    stop = hooks.StopOnSignalHook()
    saving = hooks.CheckpointHook(checkpointer, lambda t: {"model": t.model.state_dict()}, period=0)
    stream = ({"id": ["stop" if n == 2 else str(n)]} for n in itertools.count())
    threads = set(threading.enumerate())
    trainer = run(100, stop, saving, stream=stream)
    # One that held the trainer and outlived the run freed tensors while Python ended, which aborts.
    assert set(threading.enumerate()) <= threads
    assert trainer.iteration == 3 and trainer.stop_signal == signal.SIGTERM
    assert [p.name for p in checkpointer.saved()] == ["model_0000003.pth"]
    assert signal.getsignal(signal.SIGTERM) is before


def stuck(number=signal.SIGTERM):
    """As work that never ends while the signal comes."""
    os.kill(os.getpid(), number)
    time.sleep(30)
    pytest.fail("nothing was stopped")


def save_into(folder):
    return hooks.CheckpointHook(Checkpointer(folder), lambda t: {"model": t.model.state_dict()}, period=0)


def batches_until(last):
    yield from ({"id": [str(n)]} for n in range(last))
    stuck()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_evaluation_and_what_was_trained_is_saved(tmp_path, number):
    evaluation = hooks.EvaluationHook(lambda n: stuck(number), period=2, writers=[])
    trainer = run(5, hooks.StopOnSignalHook(), save_into(tmp_path), evaluation)
    assert (trainer.iteration, trainer.stop_signal) == (2, number)
    assert [p.name for p in tmp_path.glob("*.pth")] == ["model_0000002.pth"]


def test_a_signal_ends_a_run_that_waits_for_data(tmp_path):
    trainer = run(5, hooks.StopOnSignalHook(), save_into(tmp_path), stream=batches_until(3))
    assert (trainer.iteration, trainer.stop_signal) == (3, signal.SIGTERM)
    assert torch.load(tmp_path / "model_0000003.pth")["model"]["w"].item() == -3


def test_a_step_of_which_half_is_made_is_not_saved(tmp_path):
    """Its first batch is in the statistics of the model: the checkpoint would be that of no step."""
    stop = hooks.StopOnSignalHook(patience=0.2)
    with stop_on_signals(), pytest.raises(Stopped):
        run(5, stop, save_into(tmp_path), stream=batches_until(3), accumulation_steps=2)
    assert not list(tmp_path.glob("*.pth"))


def test_what_is_evaluated_is_saved_before(tmp_path):
    def crash(iteration):
        assert [p.name for p in tmp_path.glob("*.pth")] == [f"model_000000{iteration}.pth"]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(5, save_into(tmp_path), hooks.EvaluationHook(crash, period=0, writers=[]))


def test_log_lines_hold_means_since_the_last_line(tmp_path):
    writer = JSONWriter(tmp_path / "metrics.json", 0)
    run(5, hooks.LogHook(period=2, steps_per_epoch=4, writers=[writer]))
    rows = read_metrics(tmp_path / "metrics.json")
    # losses 0 | -1 | -2, -3 | -4
    assert [(r["iteration"], r["loss"], r["loss_w"]) for r in rows] == [
        (1, 0, 0),  # a run says at once that it works, and how fast
        (2, -1, -1),
        (4, -2.5, -2.5),
        (5, -4, -4),
    ]
    assert [r["epoch"] for r in rows] == [0.25, 0.5, 1.0, 1.25]
    assert all(r["time"] >= r["data_time"] >= 0 and r["memory_mb"] > 1 and "eta_seconds" in r for r in rows)


def test_a_resumed_run_drops_the_lines_that_come_again(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 2, "loss": 1}\n{"iteration": 4, "loss": 2}\n{"iteration": 6, "lo')
    writer = JSONWriter(path, start_iteration=2)
    writer.write(3, {"loss": float("nan")})
    writer.close()
    assert read_metrics(path) == [{"iteration": 2, "loss": 1}, {"iteration": 3, "loss": None}]


def test_lines_of_something_else_are_passed_over(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('5\n[]\n{"a": 1}\nxx\n{"iteration": 3, "loss": 1.0}\n{"iteration": 4, "lo')
    assert read_metrics(path) == [{"iteration": 3, "loss": 1.0}]


def test_evaluation_runs_at_its_period_and_at_the_end(tmp_path):
    writer = JSONWriter(tmp_path / "metrics.json", 0)
    hook = hooks.EvaluationHook(
        lambda n: {"val": {"mAP": n / 10, "about": "text", "table": []}}, period=2, writers=[writer]
    )
    run(5, hook)
    assert read_metrics(tmp_path / "metrics.json") == [
        {"iteration": 2, "val/mAP": 0.2, "val/about": "text"},
        {"iteration": 4, "val/mAP": 0.4, "val/about": "text"},
        {"iteration": 5, "val/mAP": 0.5, "val/about": "text"},
    ]
    assert hook.results == {"val": {"mAP": 0.5, "about": "text", "table": []}}


def test_a_run_without_test_sets_writes_no_line_of_figures(tmp_path):
    run(3, hooks.EvaluationHook(lambda n: {}, period=1, writers=[JSONWriter(tmp_path / "metrics.json", 0)]))
    assert read_metrics(tmp_path / "metrics.json") == []


def keep_best(tmp_path, values, max_iter, *, start=0, patience=0, metric="mAP", period=1, missing=False):
    """A run whose evaluation after n steps gives ``values[n - 1]``; the trainer and the steps that were evaluated."""
    evaluated = []

    def evaluate(iteration):
        evaluated.append(iteration)
        return {"val": {"mAP": values[iteration - 1], "AP50": 0.9, "about": "text"}}

    best = hooks.BestHook(
        evaluate,
        period,
        [JSONWriter(tmp_path / "metrics.json", start, missing)],
        missing,
        metric=metric,
        patience=patience,
        checkpointer=Checkpointer(tmp_path / "checkpoints"),
        state=lambda t: {"iteration": t.iteration, "model": t.model.state_dict()},
    )
    return run(max_iter, best, start=start), evaluated


def best_of(tmp_path):
    content = Checkpointer(tmp_path / "checkpoints").load_best()
    return content["iteration"], content["best"]["value"]


@pytest.mark.parametrize("metric", ["mAP", "val/mAP", "auto"])
def test_the_best_checkpoint_is_kept(tmp_path, metric):
    keep_best(tmp_path, [0.2, 0.5, 0.5, float("nan"), 0.4], 5, metric=metric)
    assert best_of(tmp_path) == (2, 0.5)  # the first of two that are equal
    assert checkpoint_in(tmp_path) == tmp_path / "checkpoints" / "model_best.pth"


def test_the_record_survives_a_resume(tmp_path):
    keep_best(tmp_path, [0.2, 0.6, 0.1], 3)
    keep_best(tmp_path, [0, 0, 0, 0.5, 0.7, 0.3], 4, start=3)
    assert best_of(tmp_path) == (2, 0.6)
    keep_best(tmp_path, [0, 0, 0, 0.5, 0.7, 0.3], 6, start=4)
    assert best_of(tmp_path) == (5, 0.7)


def test_a_new_run_knows_no_record(tmp_path):
    keep_best(tmp_path, [0.9], 1)
    keep_best(tmp_path, [0.1], 1)
    assert best_of(tmp_path) == (1, 0.1)


def test_training_ends_when_nothing_gets_better(tmp_path, caplog):
    with caplog.at_level("INFO", "modist_det"):
        trainer, evaluated = keep_best(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.9], 9, patience=2)
    assert (trainer.iteration, evaluated, trainer.stop_signal) == (4, [1, 2, 3, 4], 0)
    assert "training ends early after 4 of 9 steps: 2 evaluations without a better val/mAP" in caplog.text
    assert "val/mAP 0.5000 after 2 steps" in caplog.text and "optimistic" in caplog.text
    # Resumed, it ends at once; with more patience it goes on.
    trainer, evaluated = keep_best(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.9], 5, start=4, patience=2)
    assert (trainer.iteration, evaluated) == (4, [])
    trainer, evaluated = keep_best(tmp_path, [0.1, 0.5, 0.4, 0.5, 0.9], 5, start=4, patience=3)
    assert (trainer.iteration, evaluated, best_of(tmp_path)) == (5, [5], (5, 0.9))


@pytest.mark.parametrize("last", [0.4, 0.6])
def test_an_interrupted_evaluation_counts_once(tmp_path, last):
    values = [0.1, 0.5, 0.4, last] + [0.3] * 6
    keep_best(tmp_path, values, 3)
    trainer, evaluated = keep_best(tmp_path, values, 10, start=4, patience=2, missing=True)
    assert evaluated == ([4] if last == 0.4 else [4, 5, 6]) and trainer.iteration == evaluated[-1]


def test_patience_counts_evaluations_of_a_fractional_period(tmp_path):
    trainer, evaluated = keep_best(tmp_path, [0.5] * 10, 10, patience=2, period=2.5)
    assert (evaluated, trainer.iteration) == ([3, 5, 8], 8)


def test_a_metric_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match=r"no 'mAB'; did you mean 'mAP'\? \(metrics: val/mAP, val/AP50\)"):
        keep_best(tmp_path, [0.5], 1, metric="mAB")


def test_the_record_of_another_metric_does_not_count(tmp_path):
    keep_best(tmp_path, [0.5], 1, metric="AP50")
    keep_best(tmp_path, [0, 0.2], 2, start=1)
    assert best_of(tmp_path) == (2, 0.2)


def test_an_evaluation_whose_best_checkpoint_was_not_saved_is_repeated(tmp_path, monkeypatch):
    """metrics.json has an evaluation only when the best checkpoint has it, too."""

    def full(*_):
        raise UserError("No space left on device")

    keep_best(tmp_path, [0.2], 1)
    with monkeypatch.context() as patch, pytest.raises(UserError):
        patch.setattr(Checkpointer, "save_best", full)
        keep_best(tmp_path, [0.2, 0.5], 3, start=1)
    assert [row["iteration"] for row in read_metrics(tmp_path / "metrics.json")] == [1]


def test_weights_that_are_not_finite_are_not_the_best(tmp_path):
    best = hooks.BestHook(
        lambda n: {"val": {"mAP": 0.5}},
        1,
        [],
        metric="auto",
        patience=0,
        checkpointer=Checkpointer(tmp_path),
        state=lambda t: {"iteration": t.iteration, "model": {"w": torch.tensor(float("nan"))}},
    )
    with pytest.raises(NonFiniteError):
        run(1, best)
    assert not (tmp_path / "model_best.pth").exists()
