"""Running cases in child processes that may crash, hang or take all memory.

A child lives for many cases, so that torch is imported once; after a crash, a hang or too much memory a new one takes
its place. Linux only: what a child takes is read from ``/proc``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing as mp
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from modist_det.utils.errors import UserError

from .kinds import Wrong, find_case, rng_of

__all__ = ["Limits", "Outcome", "Worker", "peak_memory", "run_case", "run_cases"]

_MAX_MESSAGE = 2000  # characters of an error; paths of this machine included
_POLL = 0.02  # seconds
_START_LIMIT = 300.0  # seconds until a child has imported what it needs


@dataclass(frozen=True)
class Limits:
    """What a case may take: seconds (without waiting for a processor), bytes above what the process had before."""

    seconds: float = 10.0
    memory: int = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of a case: ``right`` and ``refused`` are good, everything else is a finding."""

    kind: str
    seed: int
    result: str  # right, refused, wrong, traceback, message, crash, hang, memory
    detail: str = ""
    trace: str = ""
    seconds: float = 0.0
    megabytes: int = 0

    @property
    def is_finding(self) -> bool:
        return self.result not in ("right", "refused")

    @property
    def signature(self) -> str:
        """The same for findings that are probably one fault."""
        return f"{self.kind}: {self.result}: {self.detail}"


def run_case(kind: str, seed: int, folder: Path) -> Outcome:
    """Run one case in this process, in the emptied ``folder``, which is the current one meanwhile."""
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)  # a nonsense argument may become a file
    start = time.monotonic()
    result, detail, trace = "right", "", ""
    try:
        find_case(kind)(rng_of(kind, seed), folder)
    except UserError as error:
        text = str(error)
        result, trace = "refused", text
        if "\n" in text or len(text) > _MAX_MESSAGE:
            result, detail = "message", f"{len(text)} characters, {text.count(chr(10)) + 1} lines"
            trace = text[:10_000]
    except Wrong as error:
        result, detail, trace = "wrong", _generic(str(error), folder), traceback.format_exc()
    except BaseException as error:
        result, trace = "traceback", traceback.format_exc()
        detail = f"{type(error).__name__} {_place(error)}"
    finally:
        os.chdir(before)
    return Outcome(kind, seed, result, detail, trace, time.monotonic() - start)


def _generic(text: str, folder: Path) -> str:
    """A message without what differs from case to case: the folder and numbers."""
    text = text.replace(str(folder), "")
    return re.sub(r"[\d., #]*\d[\d.]*", "#", text)[:100]


def _place(error: BaseException) -> str:
    """The innermost line of the product in a traceback (of the fuzzer where there is none)."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "modist_det" in Path(frame.filename).parts]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.name}"


def _serve(connection: Connection, folder: Path, log: Path) -> None:
    """The child: takes (kind, seed), answers with an outcome."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.send("ready")
    while True:
        try:
            kind, seed = connection.recv()
        except EOFError:
            return
        os.ftruncate(output, 0)
        find_case(kind)  # imports what the kind needs, which is not the case's time
        before = _reset_peak()
        connection.send("begin")
        outcome = run_case(kind, seed, folder)
        connection.send((outcome, peak_memory() - before))
        sys.stdout.flush()


def _status(pid: int | str, field: str) -> int:
    """Bytes; 0 where the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
    return 0


def peak_memory() -> int:
    """The most bytes that this process has had resident."""
    return _status("self", "VmHWM")


def _reset_peak() -> int:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("self", "VmRSS")


def _waited(pid: int) -> float:
    """Seconds for which the process was ready to run but had no processor."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _memory_of_session(pid: int) -> int:
    """Resident bytes of a session leader and of the processes that it started."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == pid:
                    total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


class Worker:
    """One child process and what watches it.

    Args:
        scratch: folder of this worker alone.
        limits: for each case.
    """

    def __init__(self, scratch: Path, limits: Limits) -> None:
        self.scratch = scratch
        self.limits = limits
        self.folder = scratch / "case"  # as the last case left it
        self.log = scratch / "output.txt"  # of the last case
        self._process: mp.process.BaseProcess | None = None
        self._connection: Connection

    def __call__(self, kind: str, seed: int) -> Outcome:
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.pid is not None
        pid = self._process.pid
        self._connection.send((kind, seed))
        self._await()
        begin, waited, base = time.monotonic(), _waited(pid), _memory_of_session(pid)
        polls = 0
        while not self._connection.poll(_POLL):
            polls += 1
            seconds = time.monotonic() - begin - (_waited(pid) - waited)
            memory = _memory_of_session(pid) if polls % 10 == 0 else _status(pid, "VmRSS")
            if not self._process.is_alive():
                return self._lost(kind, seed, "crash", seconds)
            if seconds > self.limits.seconds:
                return self._lost(kind, seed, "hang", seconds)
            if memory - base > self.limits.memory:
                return self._lost(kind, seed, "memory", seconds, memory - base)
        try:
            outcome, peak = self._connection.recv()
        except EOFError:
            return self._lost(kind, seed, "crash", time.monotonic() - begin)
        if peak > self.limits.memory:
            return Outcome(kind, seed, "memory", "", outcome.trace, outcome.seconds, peak >> 20)
        return outcome

    def close(self) -> None:
        if self._process is not None and self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None

    def _start(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        context = mp.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.folder, self.log), daemon=False)
        self._process.start()
        theirs.close()
        self._await()

    def _await(self) -> None:
        """Wait until the child has imported what it needs."""
        if not self._connection.poll(_START_LIMIT):
            self.close()
            raise RuntimeError(f"a worker does not start; see {self.log}")
        self._connection.recv()

    def _lost(self, kind: str, seed: int, result: str, seconds: float, memory: int = 0) -> Outcome:
        assert self._process is not None
        if result == "hang":
            with contextlib.suppress(ProcessLookupError):  # faulthandler writes where it hangs
                os.kill(self._process.pid or 0, signal.SIGABRT)
            self._process.join(2)
        self.close()
        said = self.log.read_text(errors="replace") if self.log.is_file() else ""
        return Outcome(kind, seed, result, _where(said), said[-10_000:], seconds, memory >> 20)


def _where(said: str) -> str:
    """The innermost line of the product that faulthandler named."""
    for line in said.splitlines():
        if "modist_det" in line and line.strip().startswith("File"):
            parts = line.replace('"', "").split()
            return f"{Path(parts[1].rstrip(',')).name}:{parts[-1]}"
    return ""


def run_cases(
    cases: Iterator[tuple[str, int]],
    num_workers: int,
    scratch: Path,
    limits: Limits,
    report: Callable[[Outcome, Worker], None],
) -> None:
    """Run cases until there are none; ``report`` is called under a lock while the case's files are still there."""
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        worker = Worker(scratch / f"worker{number}", limits)
        try:
            while not errors:
                with lock:
                    case = next(cases, None)
                if case is None:
                    return
                outcome = worker(*case)
                with lock:
                    report(outcome, worker)
        except BaseException as error:
            errors.append(error)
        finally:
            worker.close()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(num_workers)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C: the workers end after the case in hand
        errors.append(error)
        for thread in threads:
            thread.join()
        raise
    if errors:
        raise errors[0]
