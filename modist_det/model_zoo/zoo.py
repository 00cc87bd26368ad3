"""What the catalogue is used through. Imports neither torch nor models until :func:`get` is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.cache import fetch
from ..utils.errors import UserError, nearest
from .catalogue import ENTRIES
from .configs import config_folder
from .entry import TASKS, Entry

if TYPE_CHECKING:
    from torch import nn

    from ..config import CfgNode

__all__ = ["get", "get_checkpoint_path", "get_config", "get_entry", "list_names"]


def list_names(task: str | None = None) -> list[str]:
    """Names of the entries, all or those of one task.

    Args:
        task: "detection", "classification", "pretraining" (backbones to fine-tune) or "person_detection".
    """
    if task is not None and task not in TASKS:
        raise UserError(
            f"the model zoo has no task {task!r}{nearest(task, TASKS)} (known: {', '.join(TASKS)})"
        )
    return [name for name, entry in ENTRIES.items() if task is None or entry.task == task]


def get_entry(name: str) -> Entry:
    """What the catalogue says of ``name``; a leading ``zoo://`` is allowed.

    Raises:
        UserError: there is no such entry.
    """
    name = name.removeprefix("zoo://")
    if name not in ENTRIES:
        raise UserError(
            f"the model zoo has no {name!r}{nearest(name, ENTRIES, 3)}; python tools/model_zoo.py list shows all names"
        )
    return ENTRIES[name]


def get_checkpoint_path(name: str) -> Path:
    """The local file of an entry's weights, downloaded if it is not in the cache.

    Raises:
        UserError: no such entry, or see :func:`~modist_det.utils.cache.fetch`.
    """
    entry = get_entry(name)
    return fetch(entry.url, size=entry.size, sha256=entry.sha256, name=f"zoo://{entry.name}")


def get_config(name: str, trained: bool = True) -> CfgNode:
    """The config of an entry's network and input.

    Args:
        trained: set ``MODEL.WEIGHTS`` to ``zoo://NAME``. Nothing is downloaded yet.

    Raises:
        UserError: no such entry, or it is not a network of this project.
    """
    from ..config import get_cfg

    entry = get_entry(name)
    if not entry.config:
        raise UserError(
            f"{entry.name} is a {entry.task.replace('_', ' ')} network of {entry.format} and has no config of "
            "this project; get_checkpoint_path gives its file"
        )
    cfg = get_cfg()
    cfg.merge_from_file(config_folder() / entry.config)
    # A config may name weights of its own.
    cfg.MODEL.WEIGHTS = f"zoo://{entry.name}" if trained else ""
    return cfg


def get(name: str, trained: bool = True) -> nn.Module:
    """The network of an entry, on the CPU, in evaluation mode.

    A classifier or detector is called with a batch (see :mod:`modist_det.modeling.meta_arch`), a pretrained
    backbone with a normalized clip, torchvision's person detectors with a list of images.

    Args:
        trained: load the weights, downloading them if they are not in the cache; otherwise they are fresh.

    Raises:
        UserError: no such entry, its file cannot be had or does not fit, or it needs detectron2.

    Example::

        model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
        scores = model({"video": clip})[0]["scores"]  # clip: uint8 RGB (1, 3, 8, H, W)
    """
    from .build import build, fill

    entry = get_entry(name)
    model = build(entry)
    if trained:
        fill(model, entry, get_checkpoint_path(entry.name))
    return model.eval()
