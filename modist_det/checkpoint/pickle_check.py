"""Trace a pickle without building its objects, to reject small files that would take all memory or run for ever.

A pickle is a program for a stack machine. A few bytes can ask for gigabytes (``bytearray(10**10)``, a huge memo slot, a
thousand arrays of the same bytes) or for years of work (a key of tuples that share tuples). Ordinary checkpoints need
about as much memory as the file has bytes; :func:`memory_allowance` is the limit.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

__all__ = ["TooMuch", "check_pickle", "memory_allowance"]

_LEAST_ALLOWANCE = 64 << 20
# The largest int as a key: beyond it, different ints have equal hashes.
_LARGEST_KEY = 2**61 - 2
_LARGEST_TUPLE = 1000  # entries of a key, including those of nested tuples
_SLOTS = 1 << 16  # memo slots that any pickle may use
_LONGEST_KEPT = 200  # characters; the values of longer texts do not matter
_ITEM_SIZES = {
    "Double": 8, "Long": 8, "ComplexDouble": 16, "ComplexFloat": 8, "Float": 4, "Int": 4, "QInt32": 4,
    "Half": 2, "BFloat16": 2, "Short": 2,
}  # fmt: skip
_KEEP_FIRST = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_TEXTS = {
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_INTS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}


class TooMuch(Exception):
    """Loading the file would take far more memory or time than its size justifies."""


class _Global(NamedTuple):
    name: str


@dataclass(frozen=True, eq=False)
class _Tuple:
    """``count``: entries including those of nested tuples, counted at every reference."""

    items: list[Any]
    count: int


@dataclass(frozen=True, eq=False)
class _Data:
    """Long text or bytes."""

    length: int


@dataclass(frozen=True, eq=False)
class _Storage:
    item_size: int


def memory_allowance(file_size: int) -> int:
    """The memory, in bytes, that the content of a file of ``file_size`` bytes may take."""
    return 10 * file_size + _LEAST_ALLOWANCE


def check_pickle(stream: BinaryIO, allowance: int) -> None:
    """Trace the pickle at the current position of ``stream``, which is a mapped file or in memory.

    Args:
        allowance: bytes that its objects may take together.

    Raises:
        TooMuch: it would take more memory or far too much time.
        Exception: the pickle is damaged.
    """
    machine = _Machine(allowance)
    for opcode, argument, position in pickletools.genops(stream):
        machine.step(opcode, argument, position or 0)


class _Machine:
    """The stack has numbers, short texts, stand-ins for larger objects, and ``None`` for anything irrelevant."""

    def __init__(self, allowance: int) -> None:
        self.granted = self.allowance = allowance
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: set[Any] = set()

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any, position: int) -> None:
        name = opcode.name
        if name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "POP" and self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            slot = len(self.memo) if name == "MEMOIZE" else argument
            if slot > max(_SLOTS, position):
                raise TooMuch(f"memo slot {slot}")
            self.memo[slot] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            popped = self._pop(opcode)
            self.stack.extend(self._results(opcode, argument, popped))

    def _pop(self, opcode: pickletools.OpcodeInfo) -> list[Any]:
        count = len(opcode.stack_before)
        if pickletools.markobject in opcode.stack_before:
            count = opcode.stack_before.index(pickletools.markobject) + len(self.stack) - self.marks.pop()
        if count > len(self.stack):
            raise ValueError(f"{opcode.name} without its arguments")
        start = len(self.stack) - count
        popped = self.stack[start:]
        del self.stack[start:]
        return popped

    def _results(self, opcode: pickletools.OpcodeInfo, argument: Any, popped: list[Any]) -> list[Any]:
        name = opcode.name
        if name in _INTS:
            return [argument]
        if name in _TEXTS or name in _BYTES:
            return [argument if len(argument) <= _LONGEST_KEPT else _Data(len(argument))]
        if name.endswith("TUPLE") or name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            return [_Tuple(popped, sum(_count(item) for item in popped))]
        if name == "GLOBAL":
            return [_Global(argument.replace(" ", "."))]
        if name == "STACK_GLOBAL":
            return [_Global(f"{popped[0]}.{popped[1]}")]
        if name in ("SETITEM", "SETITEMS", "DICT"):
            for key in popped[0 if name == "DICT" else 1 :: 2]:
                _check_key(key)
        elif name in ("ADDITEMS", "FROZENSET"):
            for entry in popped:
                _check_key(entry)
        elif name == "BINPERSID":
            return [self._storage(popped[0])]
        elif name in _CALLS:
            return [self._call(name, argument, popped)]
        if name == "BUILD" and isinstance(popped[1], _Tuple):
            self._spend(_length(popped[1]))
            self._view(popped[1].items)
        return [popped[0]] if name in _KEEP_FIRST else [None] * len(opcode.stack_after)

    def _spend(self, count: int) -> None:
        self.allowance -= count
        if self.allowance < 0:
            raise TooMuch("more memory than its size justifies")

    def _storage(self, identifier: Any) -> Any:
        """PyTorch's ``("storage", type, key, device, number of entries)``."""
        items = identifier.items if isinstance(identifier, _Tuple) else []
        if len(items) < 5 or not isinstance(items[1], _Global) or not isinstance(items[4], int):
            return None  # torch rejects it
        item_size = _ITEM_SIZES.get(items[1].name.rpartition(".")[2].removesuffix("Storage"), 1)
        if items[2] not in self.storages:
            self.storages.add(items[2])
            self._spend(max(items[4], 0) * item_size)
        return _Storage(item_size)

    def _call(self, name: str, argument: Any, popped: list[Any]) -> Any:
        """A call. Its integer arguments may be a shape: their product counts towards the memory of all calls."""
        if name == "INST":
            function: Any = _Global(argument.replace(" ", "."))
            arguments = popped
        else:
            function, arguments = popped[0], popped[1:]
        if name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX") and arguments and isinstance(arguments[0], _Tuple):
            arguments = arguments[0].items
        called = function.name if isinstance(function, _Global) else ""
        if called == "_codecs.encode":
            # Checkpoints need no other encodings, and some take quadratic time.
            if len(arguments) > 1 and arguments[1] not in ("latin1", "latin-1", "ascii", "utf-8", "utf8"):
                raise ValueError(f"text encoded as {arguments[1]}")
            return _Data(_length(_Tuple(arguments[:1], 1)))
        self._spend(_length(_Tuple(arguments, 1)))
        if called.startswith("torch._utils._rebuild_"):
            self._view(arguments)
        else:
            self._spend(_product(arguments))
        return None

    def _view(self, arguments: list[Any]) -> None:
        """A tensor (storage, offset, shape, strides, ...). torch enlarges a storage that is too small for its view."""
        if len(arguments) < 4 or not isinstance(arguments[0], _Storage):
            return
        item_size, (offset, shape, strides) = arguments[0].item_size, arguments[1:4]
        if not isinstance(offset, int) or not isinstance(shape, _Tuple) or not isinstance(strides, _Tuple):
            return  # torch rejects it
        self._spend(_product([shape]) * item_size)
        steps = zip(shape.items, strides.items, strict=False)
        end = offset + sum(
            (n - 1) * step for n, step in steps if isinstance(n, int) and isinstance(step, int)
        )
        if end * item_size > self.granted:
            raise TooMuch("tensors that end beyond the file")


def _count(value: Any) -> int:
    return 1 + (value.count if isinstance(value, _Tuple) else 0)


def _length(value: Any) -> int:
    """Total length of the texts and bytes directly in a tuple."""
    if not isinstance(value, _Tuple):
        return 0
    return sum(
        item.length if isinstance(item, _Data) else len(item) if isinstance(item, (str, bytes)) else 0
        for item in value.items
    )


def _product(arguments: list[Any]) -> int:
    """Product of the integers in the arguments and in their tuples: the number of entries if they are a shape."""
    flat: list[Any] = []
    for item in arguments:
        flat.extend(item.items if isinstance(item, _Tuple) else [item])
    return math.prod(item for item in flat if isinstance(item, int) and item > 1)


def _check_key(key: Any) -> None:
    if isinstance(key, int) and abs(key) > _LARGEST_KEY:
        raise TooMuch("a key of more than 61 bits")
    if isinstance(key, _Tuple):
        if key.count > _LARGEST_TUPLE:
            raise TooMuch("a key of nested tuples")
        for item in key.items:
            _check_key(item)
