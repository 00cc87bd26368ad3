"""Read and write safetensors files (https://github.com/huggingface/safetensors).

A file has eight bytes with the length of a JSON header, the header, and the tensors' bytes. The header maps each name
to its type, shape and byte range, and ``__metadata__`` to a dict of texts. Nothing in such a file can run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.json_reading import parse_json
from .hashes import content_hashes

__all__ = ["is_safetensors", "read_safetensors", "write_safetensors"]

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_METADATA = "__metadata__"
_HASH = "blake2b"  # key in the metadata
# The format's own limit for headers, in bytes.
_LONGEST_HEADER = 100_000_000


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether the file starts like a safetensors file."""
    with Path(path).open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and struct.unpack("<Q", head[:8])[0] <= _LONGEST_HEADER and head[8:] == b"{"


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata.

    Raises:
        ValueError: the file is damaged; the message says how.
    """
    path = Path(path)
    with path.open("rb") as file:
        length, size = file.read(8), path.stat().st_size
        if len(length) < 8:
            raise ValueError("no header")
        begin = 8 + struct.unpack("<Q", length)[0]
        if begin > size:
            raise ValueError("the header is truncated")
        header = parse_json(file.read(begin - 8).decode("utf-8"), "its header")
        metadata = header.pop(_METADATA, {})
        places = {name: _place(name, facts) for name, facts in header.items()}
        tensors, end = {}, 0
        # The format allows neither gaps nor overlaps; with overlaps a small file could contain many large tensors.
        for name, place in sorted(places.items(), key=lambda item: item[1].range):
            first, next_first = place.range
            if first != end or next_first > size - begin:
                raise ValueError(
                    f"the bytes of {name} ({first} to {next_first}) do not fit its shape or the file, or do not "
                    "follow those of the previous tensor"
                )
            end = next_first
            tensors[name] = _read_tensor(file, place)
        if end != size - begin:
            raise ValueError(f"{size - begin - end} bytes belong to no tensor")
    noted = metadata.pop(_HASH, None) if isinstance(metadata, dict) else None
    if noted is not None and noted != _hash(tensors, metadata):
        raise ValueError("its content has changed since it was written: its hash differs")
    return {name: tensors[name] for name in header}, metadata


class _Place(NamedTuple):
    dtype: torch.dtype
    shape: list[int]
    range: tuple[int, int]  # of bytes


def _place(name: str, facts: Any) -> _Place:
    """One entry of the header, checked by itself."""
    if not isinstance(facts, dict) or not {"dtype", "shape", "data_offsets"} <= facts.keys():
        raise ValueError(f"{name} lacks its dtype, shape or data_offsets")
    shape, (first, end) = facts["shape"], facts["data_offsets"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in (*shape, first, end)):
        raise ValueError(f"the bytes of {name} ({first} to {end}) do not fit its shape or the file")
    dtype = _TYPES.get(facts["dtype"])
    if dtype is None:
        raise ValueError(f"{name} has the type {facts['dtype']}, which is not supported")
    if end - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"the bytes of {name} ({first} to {end}) do not fit its shape or the file")
    return _Place(dtype, shape, (first, end))


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    parts = [{name: mapping[name] for name in sorted(mapping)} for mapping in (tensors, metadata)]
    hashes = json.dumps(content_hashes({"tensors": parts[0], "metadata": parts[1]}), sort_keys=True)
    return hashlib.blake2b(hashes.encode(), digest_size=16).hexdigest()


def _read_tensor(file: BinaryIO, place: _Place) -> Tensor:
    first, end = place.range
    if first == end:
        return torch.empty(place.shape, dtype=place.dtype)
    return torch.frombuffer(bytearray(file.read(end - first)), dtype=place.dtype).reshape(place.shape)


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and a dict of texts. The largest types come first, so that all tensors are aligned.

    A hash of both is added to the texts; :func:`read_safetensors` verifies and removes it.

    Raises:
        UserError: the format does not support a tensor's type, or the file cannot be written.
    """
    texts = dict(metadata or {})
    header: dict[str, Any] = {_METADATA: {**texts, _HASH: _hash(tensors, texts)}}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise UserError(f"{name} has the type {tensor.dtype}, which safetensors does not support")
        first, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [first, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
