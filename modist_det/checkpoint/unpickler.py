"""Read pickles of numpy arrays, as written by Caffe2 and detectron2, without running code from them.

A pickle is a program that names functions and calls them. Here, the few names that arrays need stand for functions of
this module, which build arrays from checked bytes. Any other name is an error.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import UserError
from .pickle_check import check_pickle, memory_allowance

__all__ = ["ForbiddenPickle", "read_array_pickle", "read_values"]

_KINDS = "fiub"  # float, integer, unsigned, boolean


class ForbiddenPickle(Exception):
    """The pickle contains something other than arrays and plain values; the message is its name."""


class _DType:
    """Stands for ``numpy.dtype``: called with ("f4", 0, 1); the second entry of its state is the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in _KINDS:
            raise ForbiddenPickle(f"an array of {self.dtype}")

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder("=" if state[1] == "|" else state[1])


class _Array:
    """Stands for an array made by ``_reconstruct``; its state is (version, shape, dtype, is Fortran, bytes)."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0, np.float32)

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.array = _to_array(tuple(shape), dtype, data, "F" if fortran else "C")


def _to_array(shape: tuple, dtype: _DType, data: bytes | str, order: str = "C") -> np.ndarray:
    # Python 2 wrote bytes as text, which the unpickler decoded as Latin-1.
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    if math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and type {dtype.dtype} with {len(raw)} bytes")
    array = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    return np.array(array, dtype=dtype.dtype.newbyteorder("="), order="C")


def _scalar(dtype: _DType, data: bytes | str) -> np.ndarray:
    return _to_array((), dtype, data)


def _buffer(data: bytes, dtype: _DType, shape: tuple, order: str) -> np.ndarray:
    """Called by pickles of protocol 5."""
    return _to_array(tuple(shape), dtype, data, order)


def _no_bytes() -> bytes:
    """``bytes``: how protocol 2 of Python 3 writes empty ones."""
    return b""


def _encoded(text: str, encoding: str) -> bytes:
    """``_codecs.encode``: how protocol 2 of Python 3 writes bytes."""
    if encoding != "latin1":
        raise ForbiddenPickle(f"text encoded as {encoding}")
    return text.encode("latin1")


class _Name:
    """The object that a name in the pickle refers to: it can be called and passed on, but not changed."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ForbiddenPickle("a state for a function")


_ALLOWED = {
    ("collections", "OrderedDict"): _Name(OrderedDict),
    ("_codecs", "encode"): _Name(_encoded),
    ("__builtin__", "bytes"): _Name(_no_bytes),
    ("numpy", "dtype"): _Name(_DType),
    # Only passed to ``_reconstruct``.
    ("numpy", "ndarray"): _Name(_Array),
}
for _module in ("numpy.core", "numpy._core"):
    _ALLOWED[_module + ".multiarray", "_reconstruct"] = _Name(_Array)
    _ALLOWED[_module + ".multiarray", "scalar"] = _Name(_scalar)
    _ALLOWED[_module + ".numeric", "_frombuffer"] = _Name(_buffer)


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ForbiddenPickle(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, identifier: Any) -> Any:
        raise ForbiddenPickle("a persistent id")


def read_array_pickle(path: str | os.PathLike) -> Any:
    """The content of a pickle of dicts, lists, plain values and numeric numpy arrays.

    Raises:
        ForbiddenPickle: it contains anything else. None of it was called.
        TooMuch: reading would take far more memory or time than the file's size justifies.
        Exception: the pickle is damaged.
    """
    path = Path(path)
    # Unlike an open file, a mapped one allocates no memory for the sizes that a pickle claims.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_pickle(content, memory_allowance(path.stat().st_size))  # type: ignore[arg-type]
        content.seek(0)
        return _unwrapped(_ArrayUnpickler(content, encoding="latin1").load(), {})


def read_values(path: str | os.PathLike, damaged: str) -> Any:
    """As :func:`read_array_pickle`, for files that are no checkpoints.

    Args:
        damaged: what is said of a file that cannot be read, before the reason.

    Raises:
        UserError: the file is damaged, or holds anything else than plain values and arrays.
    """
    try:
        return read_array_pickle(path)
    except ForbiddenPickle as error:
        raise UserError(f"{path} holds {error}; only plain values and arrays of numbers are read") from None
    except Exception as error:  # damaged bytes can raise anything
        raise UserError(f"{damaged} ({error})") from None


def _unwrapped(value: Any, known: dict[int, Any]) -> Any:
    """``value`` with arrays in place of their stand-ins. Objects that are referred to twice are built once.

    Args:
        known: results for lists and dicts met before, by ``id``.
    """
    if isinstance(value, _Array):
        return value.array
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in known:
        made: Any = {} if isinstance(value, dict) else []
        known[id(value)] = made
        if isinstance(value, dict):
            made.update((key, _unwrapped(entry, known)) for key, entry in value.items())
        else:
            made.extend(_unwrapped(entry, known) for entry in value)
    return known[id(value)]
