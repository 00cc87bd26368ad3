"""ONNX networks of one image in and one tensor out, run by onnxruntime where it is installed, otherwise by OpenCV.

Both are written in C++ and trust their input: a damaged or malicious file can end the process, or take all memory. So a
file that has not been run yet is tried in another process first, which runs this module as a script; for that it
imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Network", "NetworkError", "library", "load_network", "try_network"]

_MEMORY = 2 << 30  # bytes of address space, and so much for each byte of the file:
_MEMORY_PER_BYTE = 10
_SECONDS = 8  # of one core, and one for so many bytes of the file:
_BYTES_PER_SECOND = 5 << 20


class NetworkError(Exception):
    """The library refuses the file, or an input; the message is its reason, one line."""


class Network(Protocol):
    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for one input (1, 3, H, W).

        Raises:
            NetworkError: it takes no such input.
        """
        ...


def library() -> str:
    """``"onnxruntime"`` or ``"OpenCV"``: what is there to run networks."""
    return "OpenCV" if find_spec("onnxruntime") is None else "onnxruntime"


def load_network(path: Path, name: str, threads: int = 0) -> Network:
    """Read a file.

    Args:
        name: of the :func:`library`.
        threads: 0: the library's default.

    Raises:
        NetworkError: the library cannot read it.
    """
    return _OpenCV(path, threads) if name == "OpenCV" else _Onnxruntime(path, threads)


class _Onnxruntime:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take the cores from the decoder and the other networks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with _library_errors():
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            inputs = self._session.get_inputs()
        if len(inputs) != 1 or not self._session.get_outputs():
            raise NetworkError(f"it has {len(inputs)} inputs, not one image")
        self._name = inputs[0].name
        self._dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32

    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        with _library_errors():
            return np.asarray(
                self._session.run(None, {self._name: blob.astype(self._dtype, copy=False)})[-1], np.float32
            )


class _OpenCV:
    def __init__(self, path: Path, threads: int) -> None:
        import cv2

        if threads:
            cv2.setNumThreads(threads)
        self._path = path
        self._net: Any = None
        self._read()

    def _read(self) -> None:
        import cv2

        with _library_errors():
            self._net = cv2.dnn.readNetFromONNX(str(self._path))

    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._net is None:
            self._read()
        net, self._net = self._net, None  # a failed run leaves it in pieces
        with _library_errors():
            net.setInput(blob)
            output = np.asarray(net.forward(), np.float32)
        self._net = net
        return output


@contextlib.contextmanager
def _library_errors() -> Any:
    try:
        yield
    except Exception as error:  # each library has classes of its own, and numpy says what it cannot convert
        text = str(getattr(error, "err", "") or error).strip()
        raise NetworkError(" ".join(text.split())[:160] or type(error).__name__) from error


def try_network(path: Path, name: str, sizes: Sequence[int]) -> str:
    """Read a file, and run it on black images of some sizes, in a process of its own with bounded time and memory.

    A file or a size that the library refuses is not a fault here.

    Returns:
        What would have happened to this process, such as ``"crashes"``; ``""``: nothing.
    """
    size = path.stat().st_size
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    memory = _MEMORY + _MEMORY_PER_BYTE * size
    script = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [__file__, str(path.resolve()), name, str(seconds), str(memory), *map(str, sizes)]
    # One thread each: every further one claims address space.
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=os.path.sep,  # where no file is taken for a module
            env={**os.environ, **single, "PYTHONPATH": _absolute_path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "does not come to an end"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace")
    if "MemoryError" in said or "bad_alloc" in said or "Insufficient memory" in said:
        return f"takes more than {memory >> 20:,} MiB of memory"
    if done.returncode in (-9, -24):  # SIGKILL, SIGXCPU
        return f"takes more than {seconds} seconds for one image, or is killed for its memory"
    return (
        f"crashes what runs it (signal {-done.returncode})"
        if done.returncode < 0
        else f"ends what runs it (status {done.returncode})"
    )


def _absolute_path() -> str:
    """What is on ``sys.path``, for a process in another folder."""
    return os.pathsep.join(str(Path(entry or ".").resolve()) for entry in sys.path)


def _main(path: str, name: str, seconds: str, memory: str, *sizes: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    try:
        network = load_network(Path(path), name, threads=1)
    except NetworkError as error:
        _check_memory(error)
        return
    for size in sizes:
        try:
            network(np.zeros((1, 3, int(size), int(size)), np.float32))
        except NetworkError as error:
            _check_memory(error)


def _check_memory(error: NetworkError) -> None:
    """Here the limit ended it; in the process that asked, nothing would."""
    text = f"{error} {error.__cause__!r}"
    if any(
        word in text for word in ("MemoryError", "bad_alloc", "Insufficient memory", "Failed to allocate")
    ):
        raise MemoryError(text)


if __name__ == "__main__":
    _main(*sys.argv[1:])
