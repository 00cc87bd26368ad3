"""Reading the tensors of a checkpoint file, whatever container they are in, without running code from it."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..structures.class_facts import ClassFacts, parse_facts
from ..utils.download import TORCH_MAGIC
from ..utils.errors import UserError
from ..utils.paths import local_path
from ..utils.text_files import why_no_file
from ..utils.yaml_reading import parse_yaml
from .archive import check_archive, check_legacy_file
from .hashes import HASHES, check_hashes
from .pickle_check import TooMuch
from .safetensors_file import is_safetensors, read_safetensors
from .unpickler import ForbiddenPickle, read_array_pickle

__all__ = ["classes_inside", "config_inside", "read_checkpoint", "read_state_dict", "tensors_of"]

logger = logging.getLogger(__name__)

# "ema": of our own runs that average their weights, the ones that they evaluate. "blobs": Caffe2.
_CONTAINERS = ("ema", "model_state", "model", "state_dict", "blobs")


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint file, on the CPU, under the names that the file gives them.

    Wrappers' prefixes (``module.`` of DistributedDataParallel, ``_orig_mod.`` of ``torch.compile``) are
    taken off.

    Args:
        path: of a file, or ``zoo://NAME``, ``https://...`` (see :func:`~modist_det.utils.paths.local_path`).

    Raises:
        UserError: the path is missing or a folder; the file is no checkpoint, is damaged, would have to
            run code to be read, or holds no tensors.
    """
    return tensors_of(read_checkpoint(path), os.fspath(path))


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """All of a checkpoint file: whatever its dict holds. A safetensors file's metadata is under ``metadata``.

    Checksums in the file are verified: CRCs of a zip archive, hashes of the tensors in files of this project.

    Raises:
        UserError: as :func:`read_state_dict`.
    """
    text, file = os.fspath(path), Path(local_path(path))
    if reason := why_no_file(file):
        raise UserError(f"weights file {text} {reason}")
    try:
        content = _read(file)
        if isinstance(content, Mapping):
            check_hashes(content)
    except ForbiddenPickle as error:
        raise UserError(_refusal(text, str(error))) from error
    except TooMuch as error:
        raise UserError(
            f"weights file {text} is refused: reading its {file.stat().st_size:,} bytes would take far too much memory "
            f"or time ({error})"
        ) from error
    except Exception as error:  # whatever damaged bytes make a reader say
        raise UserError(_why_unreadable(text, file, error)) from error
    if not isinstance(content, Mapping):
        raise UserError(f"weights file {text} holds {type(content).__name__}, not a dict of tensors")
    return {name: value for name, value in content.items() if name != HASHES}


def config_inside(content: Mapping[str, Any]) -> str:
    """The config, as YAML, that a checkpoint of ours carries; ``""`` where there is none."""
    metadata = content.get("metadata")
    text = content.get("config", metadata.get("config") if isinstance(metadata, Mapping) else None)
    if not isinstance(text, str) or not text:
        return ""
    try:
        return text if isinstance(parse_yaml(text, "the config in the weights file"), dict) else ""
    except UserError as error:
        logger.warning("%s; it is ignored", error)
        return ""


def classes_inside(content: Mapping[str, Any], path: str) -> ClassFacts | None:
    """The class facts in a checkpoint of this project, read from ``path``; None where it has none.

    Raises:
        UserError: it is damaged.
    """
    metadata = content.get("metadata")
    facts = content.get("class_facts", metadata.get("class_facts") if isinstance(metadata, Mapping) else None)
    return None if facts is None else parse_facts(facts, path)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(len(TORCH_MAGIC))
    if is_safetensors(path):
        tensors, metadata = read_safetensors(path)
        return {"model": tensors, "metadata": metadata}
    # A pickle by itself: Caffe2's. PyTorch's begin with its magic number or are inside of a zip archive.
    if head[:1] == b"\x80" and head != TORCH_MAGIC:
        return read_array_pickle(path)
    if head == TORCH_MAGIC:
        check_legacy_file(path)
    elif zipfile.is_zipfile(path):
        check_archive(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def tensors_of(content: dict[str, Any], path: str) -> dict[str, Tensor]:
    """The state dict among the content of ``path``, under any of the names that projects give it.

    Raises:
        UserError: there is none.
    """
    for container in _CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content = content[container]
            break
    tensors = {}
    for name, value in content.items():
        if isinstance(value, (np.ndarray, np.generic)):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
                raise UserError(
                    f"weights file {path}: {name} is a sparse, quantized or empty (meta) tensor; save it as an "
                    "ordinary one"
                )
            tensors[_unwrapped(str(name))] = value
    if not tensors:
        raise UserError(
            f"weights file {path} holds no model: no tensors, neither in the dict itself nor under "
            f"{', '.join(_CONTAINERS)} (its keys: {', '.join(map(str, list(content)[:5])) or 'none'})"
        )
    return tensors


def _unwrapped(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _refusal(path: str, held: str) -> str:
    return (
        f"weights file {path} is refused: to read it, code would have to run (it holds {held}). Only "
        "tensors and plain values are read; save the model's state_dict alone and load that"
    )


def _why_unreadable(path: str, file: Path, error: Exception) -> str:
    # torch names the first thing in the file that is neither a tensor nor a plain value.
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return _refusal(path, match[1])
    if kind := _what_else(file):
        return f"weights file {path} is {kind}, not a checkpoint; download or copy the file itself"
    # Of torch's advice only the reason: to unpickle whatever the file holds is no way out.
    match = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search(
        r"([^\n]+?)(\. |\n|$)", str(error)
    )
    reason = match[1].strip() if match else type(error).__name__
    return f"weights file {path} is damaged or no checkpoint ({reason})"


def _what_else(path: Path) -> str:
    """What a file that PyTorch cannot read is, by its first bytes; ``""`` if these do not say."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                inside = archive.namelist()
        except Exception:  # its directory is damaged, in one of many ways
            return ""
        return "" if any(name.endswith("data.pkl") for name in inside) else "a zip archive of other files"
    if not head.strip(b"\0"):
        return "all zero bytes" if head else "empty"
    if not all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return ""
    text = head.lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS"
    return "a web page" if text.startswith((b"<!doctype html", b"<html")) else "a text file"
