"""Running a job in a process of its own, killing it, and judging what is left."""

from __future__ import annotations

import atexit
import os
import random
import runpy
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .jobs import ROOT, Job

__all__ = ["JobReport", "kill_job"]

_ORPHANS = 20.0  # seconds in which the workers of a killed process must end
_KILLS_A_RUN = 5


@dataclass
class JobReport:
    """What a job's kills showed."""

    name: str
    seconds: float = 0.0  # of the run that nobody killed
    kills: int = 0
    runs: int = 0  # finished after their kills
    wrong: list[str] = field(default_factory=list)


def kill_job(job: Job, kills: int, folder: Path, moments: random.Random) -> JobReport:
    """Kill a job ``kills`` times at random moments; each of its output folders is finished after at most five."""
    report = JobReport(job.name)
    began = time.monotonic()
    status = _wait(_start(job, folder / "straight", folder / "straight.log"))
    report.seconds = time.monotonic() - began
    if status != 0:
        log = (folder / "straight.log").read_text(errors="replace")
        report.wrong.append(f"the run that nobody killed ended with status {status}: {log[-500:]}")
        return report
    expected = job.result(folder / "straight")
    groups = []
    while report.kills < kills and len(report.wrong) < 5:
        out = folder / f"killed{report.runs}"
        log = folder / f"killed{report.runs}.log"
        finished = False
        for _ in range(min(_KILLS_A_RUN, kills - report.kills)):
            process = _start(job, out, log)
            groups.append(process)
            if not _kill_after(process, moments.uniform(0.0, report.seconds)):
                finished = True
                break
            report.kills += 1
            report.wrong += _left_wrong(job, out, expected, report.kills)
        status = 0 if finished else _wait(_start(job, out, log))
        report.runs += 1
        report.wrong += _finished_wrong(job, out, expected, status, log)
    deadline = time.monotonic() + _ORPHANS
    while (
        left := [orphan for group in groups for orphan in _orphans(group)]
    ) and time.monotonic() < deadline:
        time.sleep(0.1)
    report.wrong += [f"process {orphan} outlives its killed parent" for orphan in left]
    return report


def _start(job: Job, out: Path, log: Path) -> int:
    """The job in a fork of this process, which has loaded what takes long to load; its process number."""
    out.mkdir(parents=True, exist_ok=True)
    script, *arguments = job.arguments(out)
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(ROOT)
        sys.argv = [str(ROOT / script), *arguments]
        # The lock that tqdm shares with forks: a killed one may have held it.
        tqdm.set_lock(threading.RLock())
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _kill_after(process: int, seconds: float) -> bool:
    """False where the process has ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    return _wait(process) == -signal.SIGKILL


def _left_wrong(job: Job, out: Path, expected: dict[str, Any], kill: int) -> list[str]:
    """What a kill left behind that it must not."""
    wrong = []
    try:
        for name, content in job.content(out).items():
            if name not in expected:
                wrong.append(f"kill {kill}: a file {name} that an uninterrupted run does not have")
            elif not _equal(content, expected[name]):
                wrong.append(f"kill {kill}: {name} is half-written, or of another content")
    except Exception as error:
        wrong.append(f"kill {kill}: a file cannot be read: {error!r}")
    return wrong


def _finished_wrong(job: Job, out: Path, expected: dict[str, Any], status: int, log: Path) -> list[str]:
    said = log.read_text(errors="replace")
    wrong = [f"{out.name}: a traceback"] if "Traceback (most recent" in said else []
    if status != 0:
        return [*wrong, f"{out.name}: the run after the kills ended with status {status}: {said[-500:]}"]
    found = job.result(out)
    wrong += [f"{out.name}: {name} is missing" for name in expected.keys() - found.keys()]
    wrong += [
        f"{out.name}: {name} is not that of an uninterrupted run"
        for name, content in found.items()
        if name not in expected or not _equal(content, expected[name])
    ]
    left = [path for path in out.rglob(".*") if ".tmp-" in path.name or path.name.endswith(".part")]
    wrong += [f"{out.name}: a temporary file is left: {path.name}" for path in left]
    return wrong


def _orphans(group: int) -> list[int]:
    """Processes of a process group, by number."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(entry.parent.name))
    return found


def _equal(first: Any, second: Any) -> bool:
    """Bit for bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_equal, first, second))
    return first == second
