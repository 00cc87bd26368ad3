"""Programs in processes that have imported torch already, which takes longer than most programs of a test run.

A server imports the package once; each process is forked from it. It is a process of its own, has its exit status and
can be killed; but what a program imports, and the environment while it is imported, need a test with ``subprocess``.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

__all__ = ["run_program", "run_programs", "start"]

_PRELOADED = [
    "pytest",
    "modist_det.engine.run",
    "modist_det.inference.run",
    "modist_det.analysis.report",
]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start(target: Callable[..., Any], *args: Any, **kwargs: Any) -> ForkServerProcess:
    """Call ``target``, a function of an importable module, in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)  # of the server, if this process is the first
    process = context.Process(target=target, args=args, kwargs=kwargs)
    process.start()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return process


def run_program(
    words: Sequence[Any],
    *,
    cwd: str | os.PathLike | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run the Python program ``words[0]`` with its arguments, as ``subprocess.run`` would with text captured."""
    (done,) = run_programs(words, envs=[os.environ if env is None else env], cwd=cwd, timeout=timeout)
    return done


def run_programs(
    words: Sequence[Any],
    *,
    envs: Sequence[Mapping[str, str]],
    cwd: str | os.PathLike | None = None,
    timeout: float = 240,
) -> list[subprocess.CompletedProcess[str]]:
    """Run it as often as there are environments, side by side."""
    words = [str(word) for word in words]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [(Path(folder, f"{n}.out"), Path(folder, f"{n}.err")) for n in range(len(envs))]
        processes = [
            start(_run, words, os.fspath(cwd or Path.cwd()), {**env}, *map(str, files))
            for env, files in zip(envs, outputs, strict=True)
        ]
        for process in processes:
            process.join(timeout)
        late = [process for process in processes if process.is_alive()]
        for process in late:
            process.kill()
            process.join()
        if late:
            raise subprocess.TimeoutExpired(words, timeout)
        return [
            subprocess.CompletedProcess(words, process.exitcode, *(file.read_text() for file in files))
            for process, files in zip(processes, outputs, strict=True)
        ]


def _run(words: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out
