"""Run in one or several processes: started by torchrun, spawned with ``--num-gpus N``, or only this one."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.distributed as dist

from ..core import COUNT, Key, add_section
from ..utils import comm
from ..utils.errors import UserError
from ..utils.signals import Stopped, heard, stop_on_signals, stop_signals
from .ranks import RankLost, RankWatch, lost_connection

__all__ = ["Timeouts", "launch", "run_processes"]

# Runs with several processes.
add_section(
    "DISTRIBUTED",
    # Seconds without a heartbeat of a process after which the others end,
    RANK_TIMEOUT=Key(120.0, COUNT),
    # and the timeout of a collective operation while all are alive: one may evaluate while the others wait.
    GROUP_TIMEOUT=Key(1800.0, COUNT),
)

# Seconds for a rank in a collective operation to react to a signal before it is killed.
_SIGNAL_PATIENCE = 30.0
# Seconds for the other ranks to end on their own after one has failed.
_GRACE = 15.0


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds of the processes of a run (config section ``DISTRIBUTED``).

    Attributes:
        rank: time without a heartbeat of a rank.
        group: duration of one collective operation while all ranks are alive. Long enough for one rank to evaluate or
            start its workers while the others wait.
    """

    rank: float = 120.0
    group: float = 1800.0


def launch(main: Callable[[], int], num_gpus: int | None, timeouts: Timeouts | None = None) -> int:
    """Run ``main()`` in every process of the run and return the exit status.

    Under torchrun (its environment variables are set) this process joins the group. Otherwise
    ``num_gpus`` > 1 starts that many processes here, one per GPU (``main`` must be picklable, such as a
    ``functools.partial`` of a module's function). The group uses nccl on CUDA, gloo on the CPU.

    Raises:
        UserError: more GPUs are requested than available, or a process of the run was killed.
    """
    timeouts = timeouts or Timeouts()
    if "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _in_group(main, timeouts)
    available = torch.cuda.device_count()
    if num_gpus is not None and num_gpus > available:
        raise UserError(
            f"--num-gpus {num_gpus}, but this machine has {available} CUDA devices; give --num-gpus 0 for the CPU "
            "(several CPU processes: torchrun --nproc_per_node N tools/run_net.py ...)"
        )
    if num_gpus is None or num_gpus <= 1:
        return main()
    return run_processes(main, num_gpus, timeouts)


def run_processes(main: Callable[[], int], count: int, timeouts: Timeouts) -> int:
    """Run ``main()`` in ``count`` new processes and forward signals to them.

    Returns:
        The exit status of the first process that failed, otherwise 0.

    Raises:
        UserError: a process was killed; the others are then ended.
    """
    context = multiprocessing.get_context("spawn")
    port = _free_port()
    processes = [
        context.Process(target=_spawned, args=(rank, count, port, main, timeouts)) for rank in range(count)
    ]
    try:
        with _passing_signals_to(processes):
            for process in processes:
                process.start()
            failed = _wait(processes)
    finally:
        _end(processes)
    if failed is None:
        return 0
    status = processes[failed].exitcode or 0
    if status < 0:
        name = signal.Signals(-status).name
        memory = ", as the system does when memory runs out" if -status == signal.SIGKILL else ""
        raise UserError(
            f"rank {failed} was killed by {name}{memory}; the run ends here; continue with --resume"
        )
    return status  # that process has printed the reason


def _wait(processes: Sequence[BaseProcess]) -> int | None:
    """Wait until all have ended or one has failed; returns the rank of the failed one."""
    running: dict[Any, int] = {process.sentinel: rank for rank, process in enumerate(processes)}
    while running:
        ended = [running.pop(sentinel) for sentinel in wait(list(running))]
        for rank in ended:
            processes[rank].join()
        failed = [rank for rank in ended if processes[rank].exitcode]
        if failed:
            # If several failed, the killed one is the cause.
            return min(failed, key=lambda rank: processes[rank].exitcode or 0)
    return None


def _end(processes: Sequence[BaseProcess]) -> None:
    """Wait for the processes to end; kill those that do not."""
    for help_ in (lambda process: None, BaseProcess.terminate, BaseProcess.kill):
        alive = [process for process in processes if process.is_alive()]
        for process in alive:
            help_(process)
        deadline = time.monotonic() + _GRACE
        for process in alive:
            process.join(max(0.0, deadline - time.monotonic()))


@contextlib.contextmanager
def _passing_signals_to(processes: Sequence[BaseProcess]) -> Iterator[None]:
    def pass_on(number: int, frame: object) -> None:
        heard()
        for process in processes:
            if process.is_alive() and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, pass_on) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _spawned(rank: int, world_size: int, port: int, main: Callable[[], int], timeouts: Timeouts) -> None:
    os.setpgid(0, 0)  # signals of a terminal arrive once, through the parent
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    try:
        with stop_on_signals(until_exit=True):
            status = _in_group(main, timeouts)
    except RankLost:
        status = 1  # the parent sees which signal it was and reports it
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except Stopped as stopped:
        status = 128 + stopped.number
    sys.exit(status)


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _in_group(main: Callable[[], int], timeouts: Timeouts) -> int:
    local_rank = int(os.environ["LOCAL_RANK"])
    use_cuda = torch.cuda.is_available() and local_rank < torch.cuda.device_count()
    if use_cuda:
        torch.cuda.set_device(local_rank)
    with stop_on_signals(patience=_SIGNAL_PATIENCE, until_exit=True):
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if use_cuda else "gloo", timeout=datetime.timedelta(seconds=timeouts.group)
        )
        try:
            with _watch(timeouts) as watch, lost_connection(watch):
                status = main()
                if status == 0:  # otherwise the others may not get here
                    comm.synchronize()
        except RankLost as error:
            # Leaving a group with a dead member may hang.
            timer = threading.Timer(_GRACE, os._exit, (1,))
            timer.daemon = True
            timer.start()
            if not error.told:
                sys.exit(1)
            raise
        except BaseException:
            dist.destroy_process_group()
            raise
        dist.destroy_process_group()
        return status


def _watch(timeouts: Timeouts) -> RankWatch:
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        timeout=datetime.timedelta(seconds=timeouts.rank),
    )
    run = os.environ.get("TORCHELASTIC_RUN_ID", ""), os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return RankWatch(
        dist.get_rank(),
        dist.get_world_size(),
        dist.PrefixStore("/".join(("ranks", *run)), store),
        timeouts.rank,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
