"""Detect that a process of the run has died or hangs while the others wait for it.

A collective operation waits in C and does not show which rank is missing. Each rank therefore has two threads: one
sends heartbeats through a key-value store and reads those of the others; the other evaluates them, because the store
itself may hang.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist

from ..utils.errors import UserError
from ..utils.files import remove_unfinished

__all__ = ["RankLost", "RankWatch", "lost_connection"]

_LOST = re.compile(
    r"[Cc]onnection (was )?(closed|reset|refused|lost|aborted)|[Bb]roken pipe|Socket|recvValue|NCCL|gloo|"
    r"[Tt]imed? ?out|remote process|heartbeat"
)
# Seconds for a rank to notice on its own that another one has ended, and to end with its own message.
_OWN_MESSAGE = 10.0
_LEFT = 2**40  # more heartbeats than any run has
_ADVICE = "the run ends here; continue with --resume"


class RankLost(UserError):
    """Another process of the run is gone. ``told``: whether this rank reports it."""

    def __init__(self, message: str, told: bool) -> None:
        super().__init__(message)
        self.told = told


class RankWatch:
    """Ends this process with a one-line message if another rank sends no heartbeat for ``timeout`` seconds.

    Args:
        rank, world_size: those of this process's group.
        store: a separate connection, since operations on a shared one block each other.
        timeout: seconds.
    """

    def __init__(self, rank: int, world_size: int, store: dist.Store, timeout: float) -> None:
        self.rank = rank
        self.timeout = timeout
        self._store = store
        now = time.monotonic()
        self._seen = {other: now for other in range(world_size) if other != rank}
        self._answered = now  # the store
        self._ended: dict[int, float] = {}  # when a rank on this machine was first seen to have ended
        self._where: dict[int, tuple[str, int]] = {}  # host and process of each rank
        self._closed = threading.Event()

    def __enter__(self) -> RankWatch:
        place = json.dumps([socket.gethostname(), os.getpid()])
        self._store.set(f"place/{self.rank}", place)
        for other in self._seen:
            host, process = json.loads(self._store.get(f"place/{other}"))
            self._where[other] = (host, process)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._judge)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(_OWN_MESSAGE)  # a thread in C code would crash the interpreter at exit

    def gone(self, patience: float = 3.0) -> list[int]:
        """Ranks that have ended; waits up to ``patience`` seconds for the system to report one on this machine."""
        deadline = time.monotonic() + patience
        while not (ended := self._ended_here()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return ended

    def lost(self, ranks: list[int], how: str) -> RankLost:
        """The error that names ``ranks``; the lowest remaining rank reports it."""
        others = [rank for rank in (self.rank, *self._seen) if rank not in ranks]
        names = " and ".join(
            f"rank {rank} (process {process} on {host})"
            for rank, (host, process) in self._where.items()
            if rank in ranks
        )
        return RankLost(f"{names or 'another rank'} {how}; {_ADVICE}", told=self.rank == min(others))

    def _beat(self) -> None:
        counts = dict.fromkeys(self._seen, 0)
        period = min(self.timeout / 5, 5.0)
        with contextlib.suppress(RuntimeError):  # the store is gone: _judge sees it
            while not self._closed.wait(period):
                self._store.add(f"beat/{self.rank}", 1)
                for other, before in counts.items():
                    counts[other] = self._store.add(f"beat/{other}", 0)
                    if counts[other] >= _LEFT:
                        self._seen[other] = math.inf
                    elif counts[other] != before:
                        self._seen[other] = time.monotonic()
                self._answered = time.monotonic()
            # This rank sends no more heartbeats, but is not lost: ending a process takes a while.
            self._store.add(f"beat/{self.rank}", _LEFT)

    def _judge(self) -> None:
        woke = time.monotonic()
        while not self._closed.wait(1.0):
            now = time.monotonic()
            if now - woke > 5.0:  # this process itself was suspended
                self._seen = {rank: max(seen, now) for rank, seen in self._seen.items()}
                self._answered = now
            woke = now
            for rank in self._ended_here():
                if now - self._ended.setdefault(rank, now) > _OWN_MESSAGE:
                    self._end(self.lost([rank], "was killed or ended"))
            silent = [rank for rank, seen in self._seen.items() if now - seen > self.timeout]
            if now - self._answered > self.timeout:
                # Rank 0 keeps the store, unless torchrun does.
                silent = [0] if 0 in self._seen else silent
            if silent:
                self._end(
                    self.lost(
                        silent, f"has sent no heartbeat for {self.timeout:g} s (DISTRIBUTED.RANK_TIMEOUT)"
                    )
                )

    def _ended_here(self) -> list[int]:
        host = socket.gethostname()
        return [rank for rank, (where, process) in self._where.items() if where == host and _ended(process)]

    def _end(self, error: RankLost) -> None:
        if self._closed.is_set():
            return
        remove_unfinished()
        if error.told:
            with contextlib.suppress(OSError, ValueError):
                print(f"\nerror: {error}", file=sys.stderr, flush=True)  # not at the end of a progress bar
        os._exit(1)


@contextlib.contextmanager
def lost_connection(watch: RankWatch) -> Iterator[None]:
    """Turns the backend's error when another rank is gone into :class:`RankLost`."""
    try:
        yield
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        ended = watch.gone()
        text = " ".join(str(error).split())[:200]
        how = "was killed or ended" if ended else f"no longer takes part ({text})"
        raise watch.lost(ended, how) from error


def _ended(process: int) -> bool:
    """Whether a process of this machine has ended (or is a zombie)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return state.rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return Path("/proc/self").exists()
    except OSError:
        return False
