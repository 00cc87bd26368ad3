"""Stop a process on SIGINT (Ctrl-C), SIGTERM or SIGHUP (its terminal was closed).

Python runs signal handlers in the main thread, after it returns from C code. A thread that waits in C for another
process, as in a collective operation, would never notice the signal; so :func:`stop_on_signals` starts a second thread.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from .files import remove_unfinished

__all__ = ["Stopped", "end_now", "heard", "stop_on_signals", "stop_signals"]

# Seconds for the main thread to react to a signal: a step of a large model on a CPU is a long call into C.
_PATIENCE = 120.0
# Seconds after that to remove files and end threads and child processes.
_GRACE = 30.0


class Stopped(KeyboardInterrupt):
    """The process was asked to stop. ``number`` is that of the signal."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def stop_signals() -> list[int]:
    """The signals that stop a process. SIGHUP is not one of them under ``nohup``, which ignores it."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


_OVER = b"\0"  # no signal has this number
_heard = [-math.inf]  # time.monotonic() of the last call of heard()


@contextlib.contextmanager
def stop_on_signals(
    patience: float = _PATIENCE, grace: float = _GRACE, until_exit: bool = False
) -> Iterator[None]:
    """Inside the block, each of :func:`stop_signals` raises :class:`Stopped` in the main thread.

    If the main thread does not react to a signal within ``patience`` seconds, or does not leave the block within
    ``grace`` seconds after that, the process is ended at once and its temporary files are removed. In other threads,
    this does nothing.

    Args:
        until_exit: the process ends after the block, and ``grace`` includes its exit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    timers: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        heard()
        # The exception is lost if it is raised inside a finalizer, and a thread may hang: so there is a time limit.
        name = signal.Signals(number).name
        timers.append(
            threading.Timer(grace, end_now, (number, f"stopped by {name}, {grace:g} s after being asked"))
        )
        timers[-1].daemon = True
        timers[-1].start()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in stop_signals()}
    try:
        with _listening(patience):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if until_exit:
            atexit.register(_end_on_signals)
        else:
            for timer in timers:
                timer.cancel()


def _end_on_signals() -> None:
    """From now on, signals end the process at once: raised in a function of ``atexit``, :exc:`KeyboardInterrupt` would
    print a traceback, or abort the process while C++ code ends its threads."""
    for number in stop_signals():
        signal.signal(number, lambda number, _: end_now(number, f"stopped by {signal.Signals(number).name}"))


def heard() -> None:
    """For signal handlers: report that the main thread has received the signal and will end the process."""
    _heard[0] = time.monotonic()


def end_now(number: int, reason: str) -> None:
    """From any thread: print ``reason`` on one line and end the process with the exit status of signal ``number``."""
    remove_unfinished()
    with contextlib.suppress(OSError, ValueError):
        print(f"\n{reason}", file=sys.stderr, flush=True)  # on a new line, after any progress bar
    os._exit(128 + number)


@contextlib.contextmanager
def _listening(patience: float) -> Iterator[None]:
    """Run a thread that receives each signal's number at once, whatever the main thread is doing."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    over = threading.Event()
    thread = threading.Thread(target=_listen, args=(receiver, patience, over), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        # Closing the socket would not wake the thread, because forked workers hold it as well.
        sender.setblocking(True)
        sender.send(_OVER)
        thread.join()
        sender.close()
        receiver.close()


def _listen(receiver: socket.socket, patience: float, over: threading.Event) -> None:
    while (received := receiver.recv(1)) != _OVER:
        number, came = received[0], time.monotonic()
        if number not in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            continue
        # The handler may have been faster than this thread.
        while _heard[0] < came - 1.0 and not over.wait(0.1):
            if time.monotonic() - came > patience:
                name = signal.Signals(number).name
                end_now(number, f"stopped by {name}; the main thread did not react for {patience:g} s")
