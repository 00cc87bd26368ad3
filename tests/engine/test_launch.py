"""Runs of two processes of which one is killed or stopped, and signals to all of them."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time

import pytest
import torch
import torch.distributed as dist

from modist_det.engine.launch import Timeouts, run_processes
from modist_det.engine.ranks import _ended
from modist_det.utils import comm
from modist_det.utils.errors import UserError
from modist_det.utils.signals import stop_on_signals

TIMEOUTS = Timeouts(rank=2.0, group=600.0)


def work(folder, rank, number, mistake=""):
    """Collective operations without end; at the third, signal ``number`` comes to ``rank``, or it meets a mistake."""
    for step in range(100_000):
        if step == 3 and comm.get_rank() == rank:
            if mistake:
                raise UserError(mistake)
            if number:
                os.kill(os.getpid(), number)
        if step == 3:
            (folder / str(comm.get_rank())).write_text(str(os.getpid()))
        dist.all_reduce(torch.ones(2))
    return 0


def run(*arguments):
    began = time.monotonic()
    try:
        return run_processes(functools.partial(work, *arguments), 2, TIMEOUTS)
    finally:
        assert time.monotonic() - began < 50  # not the group's ten minutes


def test_a_killed_rank_is_named(tmp_path, capfd):
    with pytest.raises(UserError, match=r"rank 1 was killed by SIGKILL.*memory.*--resume"):
        run(tmp_path, 1, signal.SIGKILL)
    assert "Traceback" not in capfd.readouterr().err


def test_a_stopped_rank_is_named_and_ended(tmp_path, capfd, monkeypatch):
    rank = 0  # which keeps the store through which the others know of each other
    monkeypatch.setattr("modist_det.engine.launch._GRACE", 1.0)
    assert run(tmp_path, rank, signal.SIGSTOP) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert line.startswith(f"error: rank {rank} (process ")
    assert "has sent no heartbeat for 2 s (DISTRIBUTED.RANK_TIMEOUT)" in line
    assert all(_ended(int(path.read_text())) for path in tmp_path.iterdir())


def test_a_mistake_of_one_rank_is_said_once(tmp_path, capfd):
    assert run(tmp_path, 1, 0, "boxes.csv:3: no") == 1
    said = capfd.readouterr().err
    assert [line for line in said.splitlines() if "error:" in line] == ["error: boxes.csv:3: no"]


def test_a_signal_ends_all_ranks(tmp_path):
    """Also those that wait in a collective operation, where no handler runs."""

    def send():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    with stop_on_signals():
        assert run(tmp_path, -1, 0) in (1, 128 + signal.SIGTERM)
    thread.join()
    assert all(_ended(int(path.read_text())) for path in tmp_path.iterdir())
