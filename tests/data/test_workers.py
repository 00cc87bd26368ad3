"""Worker processes of the loader that cannot hand over what they made, or are killed."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from modist_det.data.build import build_train_loader
from modist_det.data.workers import init_worker
from modist_det.utils.errors import UserError

SMALL_MEMORY = """
import subprocess, sys
done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/dev/shm"])
if done.returncode:
    sys.exit(77)
import torch
from modist_det.data.build import build_train_loader

def mapper(record, rng):
    return {"video": torch.zeros(3, 8, 64, 64, dtype=torch.uint8), "id": str(record)}

next(build_train_loader(list(range(32)), mapper, batch_size=16, num_workers=2))
"""


def clip(record, rng):
    return {"video": torch.full((2,), record), "id": str(record)}


def no_descriptors_left(record, rng):
    if torch.utils.data.get_worker_info() is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    return clip(record, rng)


def unsendable(record, rng):
    return {**clip(record, rng), "function": lambda: None}


def loader(mapper):
    return build_train_loader(list(range(8)), mapper, batch_size=2, num_workers=2)


def test_shared_memory_that_is_too_small_is_one_line():
    """As in a container: the workers' batches do not fit, and nobody tells the main process."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small /dev/shm needs root")
    line = ["unshare", "-m", sys.executable, "-c", SMALL_MEMORY]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    if done.returncode == 77 or "unshare" in done.stderr.splitlines()[0]:
        pytest.skip("this machine allows no mount name space")
    last = done.stderr.splitlines()[-1]
    assert "UserError: the shared memory (/dev/shm) is too small" in last
    assert "--shm-size" in last and "DATALOADER.NUM_WORKERS 0" in last


def test_a_worker_without_descriptors_names_the_limit():
    with pytest.raises(UserError, match=r"too many open files .*ulimit -n"):
        next(loader(no_descriptors_left))


def test_what_cannot_be_sent_ends_the_run():
    """A queue drops it, and says so to nobody."""
    with pytest.raises(UserError, match="a worker process of the data loader ended"):
        next(loader(unsendable))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "a worker process of the data loader was killed .*memory.*--resume"),
        (signal.SIGBUS, "shared memory .*--shm-size"),
    ],
)
def test_a_killed_worker_is_told_where_its_batch_is_waited_for(number, message):
    before = set(multiprocessing.active_children())
    batches = loader(clip)
    assert next(batches)["video"].shape == (2, 2)
    for worker in set(multiprocessing.active_children()) - before:
        os.kill(worker.pid, number)
    # A step: nothing is raised in it.
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(UserError, match=message):
        for _ in itertools.islice(batches, 20):
            pass


def killed_with_the_lock_of_the_last_word(record, rng):
    if torch.utils.data.get_worker_info() is not None:
        frame = sys._getframe()
        while "done_event" not in frame.f_locals:
            frame = frame.f_back
        # An event with a lock is asked, without an end, whether it is set; one without is nothing to be killed in.
        if (condition := getattr(frame.f_locals["done_event"], "_cond", None)) is not None:
            condition.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    return clip(record, rng)


@pytest.mark.timeout(60)
def test_a_killed_worker_takes_no_lock_with_it():
    """The main process ends the others; it must not wait for a lock that the dead one held."""
    with pytest.raises(UserError, match="a worker process of the data loader was killed"):
        next(loader(killed_with_the_lock_of_the_last_word))


def test_a_bug_in_a_mapper_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="DataLoader worker"):
        next(loader(lambda record, rng: 1 // 0))


def test_workers_end_at_once_where_the_loader_is_part_of_a_cycle():
    """As in the traceback of an error: the garbage collector closes the queues first."""
    before = set(multiprocessing.active_children())
    batches = loader(clip)
    next(batches)
    workers = set(multiprocessing.active_children()) - before
    cycle = [batches]
    cycle.append(cycle)
    del batches, cycle
    begun = time.monotonic()
    gc.collect()
    assert time.monotonic() - begun < 5  # what torch waits for each worker, twice
    assert len(workers) == 2 and not any(worker.is_alive() for worker in workers)


def fail_as_an_orphan(begun, told):
    init_worker(0)
    begun.set()
    if multiprocessing.parent_process().join(60) is None:
        sys.stderr = open(told, "w")  # noqa: PTH123, SIM115
        try:
            raise ConnectionResetError("the main process is gone")
        except ConnectionResetError:
            sys.excepthook(*sys.exc_info())
        try:
            raise ValueError("a mistake")
        except ValueError:
            sys.excepthook(*sys.exc_info())
        sys.stderr.write("end")
        sys.stderr.flush()


def begin_an_orphan(told):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    context.Process(target=fail_as_an_orphan, args=(begun, told)).start()
    begun.wait(60)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_whose_main_process_was_killed_says_nothing_of_the_connection(tmp_path):
    main = multiprocessing.get_context("fork").Process(target=begin_an_orphan, args=(str(tmp_path / "told"),))
    main.start()
    main.join(60)
    assert main.exitcode == -signal.SIGKILL
    for _ in range(100):
        said = (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""
        if said.endswith("end"):
            break
        time.sleep(0.1)
    assert "ValueError: a mistake" in said and "ConnectionResetError" not in said
