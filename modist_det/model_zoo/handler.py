"""``zoo://NAME``, the weights of a catalogue entry, and ``torchvision://NAME/WEIGHTS`` as paths."""

from __future__ import annotations

from typing import Any

from ..utils.paths import WebHandler
from .torchvision_files import SCHEME, torchvision_file
from .zoo import get_checkpoint_path

__all__ = ["PREFIX", "TorchvisionHandler", "ZooHandler"]

PREFIX = "zoo://"


class ZooHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return str(get_checkpoint_path(path.removeprefix(PREFIX)))


class TorchvisionHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return [SCHEME]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return str(torchvision_file(path))
