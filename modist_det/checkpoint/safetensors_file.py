"""safetensors files: eight bytes with the length of a JSON header, the header, then the tensors' bytes.

The header maps each name to its type, shape and range of bytes, and ``__metadata__`` to a dict of texts. Nothing in
such a file can run. Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import UserError
from ..utils.files import atomic_path

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
# Of a header. The format's own limit, against files that claim a huge one.
_LONGEST_HEADER = 100_000_000


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether the file begins as a safetensors file does."""
    with Path(path).open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and struct.unpack("<Q", head[:8])[0] <= _LONGEST_HEADER and head[8:] == b"{"


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors on the CPU, and the metadata.

    Raises:
        ValueError: the file is damaged. The message says how.
    """
    data = bytearray(Path(path).read_bytes())
    if len(data) < 8:
        raise ValueError("no header")
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    if begin > len(data):
        raise ValueError("the header is cut short")
    header: dict[str, Any] = json.loads(data[8:begin].decode("utf-8"))
    metadata = header.pop(_METADATA, {})
    tensors = {}
    for name, facts in header.items():
        first, end = facts["data_offsets"]
        dtype, shape = _TYPES.get(facts["dtype"]), facts["shape"]
        if dtype is None:
            raise ValueError(f"{name} is of the type {facts['dtype']}, which is not read here")
        count = math.prod(shape)
        if not 0 <= first <= end <= len(data) - begin or end - first != count * dtype.itemsize:
            raise ValueError(f"the bytes of {name} ({first} to {end}) do not fit its shape or the file")
        if count:
            # A copy: tensors are to outlive the file's bytes and start where their type may start.
            tensors[name] = torch.frombuffer(data[begin + first : begin + end], dtype=dtype).reshape(shape)
        else:
            tensors[name] = torch.empty(shape, dtype=dtype)
    return tensors, metadata


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and a dict of texts, the largest types first, so that all are aligned.

    Raises:
        UserError: a tensor of a type that the format lacks, or the file cannot be written.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise UserError(f"{name} is of type {tensor.dtype}, which safetensors files cannot hold")
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
