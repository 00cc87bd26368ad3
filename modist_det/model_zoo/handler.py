"""``zoo://NAME``: the weights of a catalogue entry, as a path."""

from __future__ import annotations

from typing import Any

from ..utils.paths import WebHandler
from .zoo import get_checkpoint_path

__all__ = ["PREFIX", "ZooHandler"]

PREFIX = "zoo://"


class ZooHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return str(get_checkpoint_path(path.removeprefix(PREFIX)))
