"""Hashes of a checkpoint's content: they reveal a changed bit even in containers without checksums.

``{"": hash of everything but the tensors, "model/conv.weight": hash of that tensor, ...}``, 32 hexadecimal digits each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["HASHES", "check_hashes", "content_hashes"]

HASHES = "hashes"  # the entry of a checkpoint
_BYTES = 16
# No real checkpoint has more parts; a file with more is an attack.
_MOST_PARTS = 1_000_000


def content_hashes(content: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of a checkpoint made of dicts, lists, plain values and tensors, excluding its entry ``hashes``.

    Raises:
        ValueError: it has too many parts, or parts that contain themselves.
    """
    rest = hashlib.blake2b(digest_size=_BYTES)
    hashes = {}
    parts = _parts({key: value for key, value in content.items() if key != HASHES}, "")
    for number, (path, value) in enumerate(parts):
        if number == _MOST_PARTS:
            raise ValueError(f"it has more than {_MOST_PARTS:,} parts")
        if isinstance(value, Tensor):
            hashes[path] = _hash_of_tensor(value)
        rest.update(f"{path}\0{_describe(value)}\0".encode("utf-8", "surrogatepass"))
    return {"": rest.hexdigest(), **hashes}


def check_hashes(content: Mapping[str, Any]) -> None:
    """Verify a checkpoint's hashes. One without hashes passes.

    Raises:
        ValueError: a part has changed since it was written; the message names it.
    """
    noted = content.get(HASHES)
    if noted is None:
        return
    now = content_hashes(content)
    if noted == now:
        return
    changed = [name for name in now if not isinstance(noted, dict) or noted.get(name) != now[name]]
    name = next((name for name in changed if name), "")
    raise ValueError(
        f"{name.replace('/', '.') or 'its content'} has changed since it was written: its hash differs"
    )


def _hash_of_tensor(tensor: Tensor) -> str:
    digest = hashlib.blake2b(f"{tensor.dtype} {list(tensor.shape)}".encode(), digest_size=_BYTES)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _parts(entry, f"{path}/{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from _parts(entry, f"{path}/{index}")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, Mapping):
        return f"dict {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"list {len(value)}"
    if isinstance(value, (set, frozenset)):
        return f"set {sorted(map(repr, value))}"
    return f"{type(value).__name__} {value!r}"
