"""Worker processes of the loader: start, transfer of batches, and clear errors when one dies."""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import multiprocessing.queues
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, get_worker_info

from ..utils.errors import UserError

__all__ = ["init_worker", "read_batches", "share", "worker_context"]

logger = logging.getLogger(__name__)

_CANNOT_SEND = 74  # exit status of a worker whose batch cannot be sent (EX_IOERR)
_FEWER = "fewer DATALOADER.NUM_WORKERS or a smaller DATALOADER.PREFETCH_FACTOR"
_SHARED_MEMORY = (
    "the shared memory (/dev/shm) is too small for the batches of the data loader's workers{}; give a container more "
    f"(docker run --shm-size=8g, or --ipc=host), use {_FEWER}, or no workers: DATALOADER.NUM_WORKERS 0"
)
_OPEN_FILES = (
    "too many open files{}: each tensor sent by the data loader's workers is one; raise the limit (ulimit -n 65536), "
    f"use {_FEWER}, or no workers: DATALOADER.NUM_WORKERS 0"
)
_MEMORY = (
    "a worker process of the data loader was killed{}, probably because memory ran out; use "
    f"{_FEWER}, or smaller batches, and continue with --resume"
)
_ENDED = (
    "a worker process of the data loader ended{}; to see why, load in this process (DATALOADER.NUM_WORKERS 0) and "
    "continue with --resume"
)
_OUT_OF_MEMORY = (
    f"a worker process of the data loader ran out of memory{{}}; use {_FEWER}, or smaller batches"
)
# What torch and the system say, first match first.
_REMEDIES = (
    (r"MemoryError|[Cc]an(no|')t allocate memory", _OUT_OF_MEMORY),
    (r"[Tt]oo many open files|ancdata", _OPEN_FILES),
    (r"Bus error|No space left on device|shared memory", _SHARED_MEMORY),
    (r"killed by signal: Killed", _MEMORY),
    (r"DataLoader worker \(pid|^(Connection\w*|EOF)Error", _ENDED),
)


def worker_context() -> multiprocessing.context.BaseContext:
    """The default multiprocessing context for a ``DataLoader``, with events that survive the death of a process."""
    default = type(multiprocessing.get_context())

    class Context(default):  # type: ignore[valid-type, misc]
        def Event(self) -> _Flag:
            return _Flag()

    return Context()


class _Flag:
    """An event without a lock (only ``set`` and ``is_set`` are used): if a worker is killed while it holds a lock, the
    main process would wait forever when shutting down the others."""

    def __init__(self) -> None:
        self._value = multiprocessing.RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


def init_worker(worker_id: int) -> None:
    """Use one thread per worker, and ignore signals: the main process handles them and ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):  # the last: of submitit
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # A queue silently drops what it cannot send, and its reader would wait forever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_unsent)  # type: ignore[attr-defined]
    # Receives errors of the thread that sends tensors.
    sys.excepthook = _unless_orphaned


def _unless_orphaned(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error, unless its cause is that the main process was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and isinstance(error, (OSError, EOFError)):
        parent.join(1.0)  # its connections may be gone a moment before it is
        if not parent.is_alive():
            return
    sys.__excepthook__(kind, error, trace)


def _end_unsent(error: Exception, batch: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(f"a loader's worker cannot send its batch: {_first_line(error)}", file=sys.stderr, flush=True)
    os._exit(_CANNOT_SEND)


def share(batch: Any) -> Any:
    """Move a batch's tensors to shared memory before sending; no effect in the main process.

    Sending would also move them, but in a thread whose errors are lost. If shared memory is full, a ``UserError`` is
    returned in place of the batch.
    """
    if get_worker_info() is None:
        return batch
    try:
        for tensor in _tensors(batch):
            if tensor.numel():
                tensor.share_memory_()
    except (OSError, RuntimeError) as error:
        mistake = _explained(error)
        if mistake is None:
            raise
        return mistake
    return batch


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, dict):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from _tensors(value)


# Iterators in use. The garbage collector would close the queues of one in a reference cycle (such as an error's
# traceback) before its workers are told to stop, and the process would hang waiting for them.
_OPEN: set[Any] = set()


def read_batches(loader: DataLoader) -> Iterator[Any]:
    """Iterate over a ``DataLoader`` and turn the death of a worker into a ``UserError``.

    A dead worker is reported while waiting for a batch, never in the middle of a step.

    Raises:
        UserError: returned by a worker, or a worker died or cannot send its batch.
    """
    batches: Iterator[Any] | None = None
    try:
        while True:
            try:
                with _WATCH.waiting():
                    if batches is None:
                        batches = iter(loader)
                        _OPEN.add(batches)
                    batch = next(batches)
            except StopIteration:
                return
            except (EOFError, MemoryError, OSError, RuntimeError) as error:
                if isinstance(error, (ConnectionError, EOFError)):  # a worker died while sending a tensor
                    error = _WATCH.death() or error
                mistake = _explained(error) if loader.num_workers else None
                if mistake is None:
                    raise
                raise mistake from error
            if isinstance(batch, UserError):
                raise batch
            yield batch
    finally:
        _OPEN.discard(batches)
        if loader.num_workers and batches is not None:
            batches._shutdown_workers()  # type: ignore[attr-defined]


def _explained(error: BaseException) -> UserError | None:
    """The error with its remedy; None if it is not about worker processes or shared memory."""
    reasons = [error]
    while (earlier := reasons[-1].__cause__ or reasons[-1].__context__) is not None:
        reasons.append(earlier)
    for pattern, remedy in _REMEDIES:
        for reason in reversed(reasons):  # the first is the most precise
            text = f"{type(reason).__name__}: {reason}"
            # A mapper's error arrives as traceback text, which may contain any of the patterns.
            if re.search(pattern, text.splitlines()[0] if "Original Traceback" in text else text):
                return UserError(remedy.format(f" ({_first_line(reason)})"))
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]


class _Watch:
    """Defers errors raised by torch's SIGCHLD handler until the process waits for a batch.

    Torch raises the death of a worker in the main thread at any time, even in the middle of a step or while a
    checkpoint is written.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._waiting = False
        self._error: RuntimeError | None = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        if self._error is not None:
            raise self._take()
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
            self._take_over()

    def death(self) -> RuntimeError | None:
        """Torch's error for a worker that has just died; None if there is none within 5 seconds."""
        deadline = time.monotonic() + 5.0  # the system may be writing a core dump
        while self._error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._take()

    def _take(self) -> Any:
        error, self._error = self._error, None
        return error

    def _take_over(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # torch sets no handler there either
        current = signal.getsignal(signal.SIGCHLD)
        if callable(current) and getattr(current, "__module__", "").startswith("torch."):
            self._handler = current
            signal.signal(signal.SIGCHLD, self._on_child)

    def _on_child(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except RuntimeError as error:
            if self._waiting:
                raise
            self._error = error


_WATCH = _Watch()


@atexit.register
def _end_workers() -> None:
    """Kill the workers of iterators that are still alive at exit: the interpreter would wait for them forever, since
    they ignore its signal."""
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call their end an error
    for worker in workers:
        worker.kill()
