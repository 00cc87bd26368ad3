"""Read checkpoint files of any container format without running code from them."""

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
from .run_folder import checkpoint_in
from .safetensors_file import is_safetensors, read_safetensors
from .unpickler import ForbiddenPickle, read_array_pickle

__all__ = [
    "classes_inside",
    "config_inside",
    "pyslowfast_config",
    "read_checkpoint",
    "read_state_dict",
    "tensors_of",
]

logger = logging.getLogger(__name__)

# "ema": averaged weights, which our runs evaluate. "blobs": Caffe2. "module": DeepSpeed. V-JEPA's last; its evaluations
# use the averaged weights, too.
_VJEPA = ("ema_encoder", "target_encoder", "encoder")
_CONTAINERS = ("ema", "model_state", "model", "state_dict", "blobs", "module", *_VJEPA)


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint file, on the CPU, under their names in the file.

    The prefixes of wrappers (``module.`` of DistributedDataParallel, ``_orig_mod.`` of ``torch.compile``) are removed.

    Args:
        path: a file, a run's output folder, ``zoo://NAME`` or ``https://...`` (see
            :func:`~modist_det.utils.paths.local_path`).

    Raises:
        UserError: the path is missing or a folder without a checkpoint; or the file is not a checkpoint, is damaged,
            cannot be read without running code, or contains no tensors.
    """
    return tensors_of(read_checkpoint(path), os.fspath(path))


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The whole dict in a checkpoint file. For safetensors, the metadata is under ``metadata``.

    A run's output folder stands for its last checkpoint.

    Checksums are verified: the CRCs of zip archives, and the hashes in files of this project.

    Raises:
        UserError: as for :func:`read_state_dict`.
    """
    text, file = os.fspath(path), checkpoint_in(Path(local_path(path)))
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
            f"weights file {text} is rejected: reading its {file.stat().st_size:,} bytes would take far too much "
            f"memory or time ({error})"
        ) from error
    except Exception as error:  # damaged bytes can raise anything
        raise UserError(_why_unreadable(text, file, error)) from error
    if not isinstance(content, Mapping):
        raise UserError(f"weights file {text} contains a {type(content).__name__}, not a dict of tensors")
    return {name: value for name, value in content.items() if name != HASHES}


def config_inside(content: Mapping[str, Any]) -> str:
    """The config (YAML) inside a checkpoint of this project; ``""`` if there is none."""
    metadata = content.get("metadata")
    text = content.get("config", metadata.get("config") if isinstance(metadata, Mapping) else None)
    return text if _parsed(text) else ""


def pyslowfast_config(content: Mapping[str, Any]) -> dict[str, Any]:
    """The config inside a checkpoint of PySlowFast, with its keys; ``{}`` if there is none."""
    return _parsed(content.get("cfg"))


def _parsed(text: object) -> dict[str, Any]:
    if not isinstance(text, str) or not text:
        return {}
    try:
        config = parse_yaml(text, "the config in the weights file")
    except UserError as error:
        logger.warning("%s; it is ignored", error)
        return {}
    return config if isinstance(config, dict) else {}


def classes_inside(content: Mapping[str, Any], path: str) -> ClassFacts | None:
    """The class facts inside a checkpoint of this project; ``None`` if there are none.

    Args:
        path: the file, for messages.

    Raises:
        UserError: the facts are damaged.
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
    # A plain pickle comes from Caffe2. PyTorch's pickles start with a magic number or are in a zip archive.
    if head[:1] == b"\x80" and head != TORCH_MAGIC:
        return read_array_pickle(path)
    if head == TORCH_MAGIC:
        check_legacy_file(path)
    elif zipfile.is_zipfile(path):
        check_archive(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def tensors_of(content: dict[str, Any], path: str) -> dict[str, Tensor]:
    """The state dict in the content of ``path``, under any of the usual keys.

    Raises:
        UserError: there is none.
    """
    own_names = False
    classifiers = content.get("classifiers")  # V-JEPA's probes: one for each learning rate
    if isinstance(classifiers, list) and classifiers and isinstance(classifiers[0], dict):
        content = classifiers[0]
    for container in _CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content = content[container]
            own_names = container in _VJEPA  # they tell the format
            break
    tensors = {}
    for name, value in content.items():
        if isinstance(value, (np.ndarray, np.generic)):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
                raise UserError(
                    f"weights file {path}: {name} is a sparse, quantized or meta tensor; save it as a dense one"
                )
            tensors[str(name) if own_names else _unwrapped(str(name))] = value
    if not tensors:
        raise UserError(
            f"weights file {path} contains no model: there are no tensors at the top level or under "
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
        f"weights file {path} is rejected: reading it would run code (it contains {held}). Only "
        "tensors and plain values are read; save only the model's state_dict and load that"
    )


def _why_unreadable(path: str, file: Path, error: Exception) -> str:
    # torch names the first thing in the file that is neither a tensor nor a plain value.
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return _refusal(path, match[1])
    if kind := _what_else(file):
        return f"weights file {path} is {kind}, not a checkpoint; download or copy the file itself"
    # Only the reason in torch's message, not its advice to unpickle the file anyway.
    match = re.search(r"WeightsUnpickler error:\s*(.+)", str(error)) or re.search(
        r"([^\n]+?)(\. |\n|$)", str(error)
    )
    reason = match[1].strip() if match else type(error).__name__
    return f"weights file {path} is damaged or not a checkpoint ({reason})"


def _what_else(path: Path) -> str:
    """What a file is that PyTorch cannot read, judging by its first bytes; ``""`` if unknown."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                inside = archive.namelist()
        except Exception:  # a damaged directory can raise anything
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
