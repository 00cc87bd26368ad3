"""Kinds with faults of their own, by which the fuzzer's tests see that it finds them."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from modist_det.utils.errors import UserError

from .kinds import accepted, expect

__all__ = [
    "child_memory",
    "crash",
    "hang",
    "long_message",
    "memory",
    "mixed",
    "peak",
    "refused",
    "traceback",
    "wrong",
]


def refused(rng: np.random.Generator, folder: Path) -> None:
    raise UserError("no")


def wrong(rng: np.random.Generator, folder: Path) -> None:
    expect(rng.integers(10) > 10, "7 is not 8")


def traceback(rng: np.random.Generator, folder: Path) -> None:
    (folder / "file").write_bytes(rng.bytes(10))
    with accepted("nothing"):
        [].pop()


def long_message(rng: np.random.Generator, folder: Path) -> None:
    class TwoLines(UserError):
        def __str__(self) -> str:
            return "two\nlines"

    raise TwoLines


def crash(rng: np.random.Generator, folder: Path) -> None:
    ctypes.string_at(0)


def hang(rng: np.random.Generator, folder: Path) -> None:
    time.sleep(1000)


def memory(rng: np.random.Generator, folder: Path) -> None:
    pieces = []
    while True:
        pieces.append(b"x" * 10_000_000)
        time.sleep(0.001)


def peak(rng: np.random.Generator, folder: Path) -> None:
    """Memory that is given back before anybody looks."""
    _ = len(b"x" * 400_000_000)


def child_memory(rng: np.random.Generator, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", "x = b'x' * 400_000_000; import time; time.sleep(60)"], check=True)


def mixed(rng: np.random.Generator, folder: Path) -> None:
    """Wrong once in a while, by its seed."""
    (folder / "file").write_bytes(rng.bytes(10))
    expect(rng.random() < 0.7, "the one fault")
