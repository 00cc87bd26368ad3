"""Path handlers for ``zoo://NAME`` (weights of a catalogue entry), ``torchvision://NAME/WEIGHTS`` and ``hf://ORG/NAME``.

Importing :mod:`modist_det.checkpoint` registers them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..utils.cache import fetch
from ..utils.errors import UserError, nearest
from ..utils.paths import WebHandler, register_handler
from .entry import TASKS, Entry
from .hub import HubHandler
from .published_weights import ENTRIES

__all__ = ["PREFIX", "TorchvisionHandler", "ZooHandler", "get_checkpoint_path", "get_entry", "list_names"]

PREFIX = "zoo://"


def list_names(task: str | None = None) -> list[str]:
    """Names of all entries, or of those for one task.

    Args:
        task: "detection", "classification", "pretraining" (backbones to fine-tune) or "person_detection".
    """
    if task is not None and task not in TASKS:
        raise UserError(
            f"the model zoo has no task {task!r}{nearest(task, TASKS)} (known: {', '.join(TASKS)})"
        )
    return [name for name, entry in ENTRIES.items() if task is None or entry.task == task]


def get_entry(name: str) -> Entry:
    """The catalogue entry ``name``, with or without ``zoo://`` in front.

    Raises:
        UserError: there is no such entry.
    """
    name = name.removeprefix(PREFIX)
    if name not in ENTRIES:
        raise UserError(
            f"the model zoo has no {name!r}{nearest(name, ENTRIES, 3)}; for all names: python tools/model_zoo.py list"
        )
    return ENTRIES[name]


def get_checkpoint_path(name: str) -> Path:
    """The local file of an entry's weights, downloaded if it is not in the cache.

    Raises:
        UserError: there is no such entry, or as for :func:`~modist_det.utils.cache.fetch`.
    """
    entry = get_entry(name)
    return fetch(entry.url, size=entry.size, sha256=entry.sha256, name=f"{PREFIX}{entry.name}")


class ZooHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def url(self, path: str) -> str:
        return get_entry(path).url

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return str(get_checkpoint_path(path))


class TorchvisionHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["torchvision://"]

    def url(self, path: str) -> str:
        from .torchvision_files import torchvision_url  # loads torch

        return torchvision_url(path)

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        from .torchvision_files import torchvision_file  # loads torch

        return str(torchvision_file(path))


register_handler(ZooHandler())
register_handler(TorchvisionHandler())
register_handler(HubHandler())
