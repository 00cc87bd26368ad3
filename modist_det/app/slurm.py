"""Submit a run of ``tools/run_net.py`` as a job of a Slurm cluster, through submitit."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import get_cfg
from ..engine.arguments import run_net_parser
from ..engine.train import refuse_to_start_over
from ..utils.cli import parse_options, run_cli
from ..utils.errors import UserError

__all__ = ["SlurmRun", "submit_run"]

# Names of --slurm -> of submitit, which stand for the same thing on all its clusters, and the type of their values.
_PARAMETERS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "name": ("name", str),
    "time": ("timeout_min", int),
    "nodes": ("nodes", int),
    "gpus": ("gpus_per_node", int),
    "tasks": ("tasks_per_node", int),
    "cpus": ("cpus_per_task", int),
    "mem": ("mem_gb", (int, float)),
}
# A job that ran out of time is queued again; submitit wants a limit.
_MOST_TIMEOUTS = 1000
# Seconds from SIGTERM to submitit's signal: Slurm sends both to a job that is preempted, only the first to one that is
# cancelled.
_SECOND_SIGNAL = 60.0


@dataclass(frozen=True)
class SlurmRun:
    """What each task of a job runs, as one rank: ``main`` of ``tools/run_net.py`` with the arguments ``words``.

    When submitit's signal comes (the job is preempted or nearly out of time), the run saves a checkpoint after the
    current step and ends, and the job is queued again. ``words`` have ``--resume``, so it then continues.
    """

    main: Callable[[argparse.Namespace], int]
    words: tuple[str, ...]

    def __call__(self) -> int:
        import submitit

        place = submitit.JobEnvironment()
        if place.num_tasks > 1:
            os.environ.update(
                RANK=str(place.global_rank),
                LOCAL_RANK=str(place.local_rank),
                WORLD_SIZE=str(place.num_tasks),
                MASTER_ADDR=place.hostnames[0] if place.num_nodes > 1 else "127.0.0.1",
                MASTER_PORT=str(15000 + int(place.raw_job_id) % 15000),  # below those that systems hand out
            )
        number = signal.Signals[f"SIG{place.USR_SIG}"]
        requeue: Any = signal.getsignal(number)
        asked: list[int] = []

        def stop(number: int, frame: object) -> None:
            asked.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(number, stop)
        status = run_cli(run_net_parser(), self.main, self.words)
        if status == 128 + signal.SIGTERM:
            came = time.monotonic()
            while not asked and time.monotonic() - came < _SECOND_SIGNAL:
                time.sleep(0.1)
        if status and not asked:
            sys.exit(status)
        if status and place.global_rank == 0:
            requeue(number, None)  # ends this process
        return status  # with an error of this rank, Slurm could end rank 0 before the job is queued

    def checkpoint(self) -> Any:
        """For submitit: what a job that is queued again runs."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit_run(args: argparse.Namespace, main: Callable[[argparse.Namespace], int]) -> Any:
    """Submit the run that ``args`` of ``tools/run_net.py`` describe; ``args.slurm`` has the words after ``--slurm``,
    and ``main`` does what they say.

    Returns:
        The ``submitit.Job``. Its logs are in the folder ``slurm`` of OUTPUT_DIR.

    Raises:
        UserError: submitit is missing, a parameter is wrong, OUTPUT_DIR has a run and ``--resume`` is not given, or
            Slurm refuses the job.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError("--slurm needs submitit, which is not installed: pip install submitit") from error
    parameters = list(itertools.takewhile(lambda word: "=" in word, args.slurm))
    overrides = [*args.slurm[len(parameters) :], *args.overrides]  # config keys may follow --slurm
    cfg = get_cfg(args.cfg, overrides)
    if not (args.resume or args.eval_only):
        refuse_to_start_over(cfg)
    words = [
        *("--cfg", args.cfg, "--eval-only" if args.eval_only else "--resume"),
        *(["--debug"] if args.debug else []),
        *(word for module in args.imports for word in ("--import", module)),
        *([] if args.num_gpus is None else ["--num-gpus", str(args.num_gpus)]),
        *overrides,
    ]
    output = Path(cfg.OUTPUT_DIR)
    options = {"name": output.name, **parse_options("--slurm", parameters)}
    cluster = options.pop("cluster", "slurm")
    try:
        executor = submitit.AutoExecutor(
            output / "slurm", cluster=cluster, slurm_max_num_timeout=_MOST_TIMEOUTS
        )
        executor.update_parameters(**_for_submitit(options))
        return executor.submit(SlurmRun(main, tuple(words)))
    except (RuntimeError, ValueError, NameError) as error:
        raise UserError(f"--slurm: {str(error).strip().splitlines()[0]}") from error


def _for_submitit(options: dict[str, Any]) -> dict[str, Any]:
    """``{"time": 60, "partition": "gpu"}`` -> ``{"timeout_min": 60, "slurm_partition": "gpu", ...}``."""
    if "time" not in options:
        raise UserError("--slurm needs time=MINUTES, after which the job is queued again to continue")
    known = dict(_PARAMETERS.values())
    found: dict[str, Any] = {"stderr_to_stdout": True, "slurm_additional_parameters": {"requeue": True}}
    for option, value in options.items():
        name = _PARAMETERS[option][0] if option in _PARAMETERS else option
        if name == "name":
            value = str(value)
        elif name in known and not isinstance(value, known[name]):
            raise UserError(f"--slurm {option}={value} is not a {'' if option == 'mem' else 'whole '}number")
        found[name if name in known else f"slurm_{name}"] = value
    found.setdefault("tasks_per_node", max(1, found.get("gpus_per_node", 0)))
    return found
