"""Work spread over processes that is stopped in the middle."""

from __future__ import annotations

import threading
import time

import pytest

from modist_det.utils.processes import map_in_processes


def _nothing() -> None:
    pass


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_stopped_work_ends_at_once_and_without_a_traceback_of_a_thread(monkeypatch):
    """Most of the work has not begun; the pool's thread must not stumble over it."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    before = threading.enumerate()
    results = map_in_processes(_sleep, [0.0] + [30.0] * 200, 2, _nothing)
    assert next(results) == 0.0
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert time.monotonic() - began < 10
    for thread in set(threading.enumerate()) - set(before):
        thread.join(10)
    assert not raised
