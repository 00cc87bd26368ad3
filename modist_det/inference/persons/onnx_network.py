"""ONNX networks with one input image and one output tensor, run by onnxruntime if installed, otherwise by OpenCV.

Both libraries trust their input: a damaged or malicious file can crash the process or exhaust its memory. A new file is
therefore tried in another process first, which runs this module as a script. That is why it imports nothing from the
package.
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

_MEMORY = 2 << 30  # limit of the address space in bytes, plus this per byte of the file:
_MEMORY_PER_BYTE = 10
_SECONDS = 8  # CPU time limit, plus one second per this many bytes of the file:
_BYTES_PER_SECOND = 5 << 20


class NetworkError(Exception):
    """The library refuses the file or an input; the message is its one-line reason."""


class Network(Protocol):
    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output for one input (1, 3, H, W).

        Raises:
            NetworkError: the network does not accept this input.
        """
        ...


def library() -> str:
    """The library that runs networks: ``"onnxruntime"`` or ``"OpenCV"``."""
    return "OpenCV" if find_spec("onnxruntime") is None else "onnxruntime"


def load_network(path: Path, name: str, threads: int = 0) -> Network:
    """Load a network from a file.

    Args:
        name: name of the :func:`library`.
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
        # Spinning threads would take the cores from the decoder and the other networks.
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
        net, self._net = self._net, None  # unusable after a failed run
        with _library_errors():
            net.setInput(blob)
            output = np.asarray(net.forward(), np.float32)
        self._net = net
        return output


@contextlib.contextmanager
def _library_errors() -> Any:
    try:
        yield
    except Exception as error:  # each library has its own error classes, and numpy may fail to convert
        text = str(getattr(error, "err", "") or error).strip()
        raise NetworkError(" ".join(text.split())[:160] or type(error).__name__) from error


def try_network(path: Path, name: str, sizes: Sequence[int]) -> str:
    """Load a file and run it on black images in a separate process with limited time and memory.

    A file or size that the library refuses is not a fault.

    Returns:
        What would have happened to this process, such as ``"crashes"``; ``""`` if all is well.
    """
    size = path.stat().st_size
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    memory = _MEMORY + _MEMORY_PER_BYTE * size
    script = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [__file__, str(path.resolve()), name, str(seconds), str(memory), *map(str, sizes)]
    # One thread each, since every thread reserves address space.
    single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=os.path.sep,  # a folder without files that could be imported by mistake
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
    """``sys.path`` with absolute paths, for a process in another folder."""
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
    """Exit if the memory limit caused the error: the calling process has no such limit."""
    text = f"{error} {error.__cause__!r}"
    if any(
        word in text for word in ("MemoryError", "bad_alloc", "Insufficient memory", "Failed to allocate")
    ):
        raise MemoryError(text)


if __name__ == "__main__":
    _main(*sys.argv[1:])
