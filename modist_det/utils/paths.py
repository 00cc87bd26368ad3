"""Paths that may be remote: ``https://...``, those of detectron2 and of registered handlers, and plain ones.

:func:`local_path` works wherever a path is read. It goes through one iopath ``PathManager``, so that somebody's own
handler (of a store in a cluster, say) becomes known to every part at once::

    from modist_det.utils.paths import path_manager

    path_manager().register_handler(MyHandler())
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

from iopath.common.file_io import PathHandler, PathManager

from .cache import available, fetch
from .errors import UserError

__all__ = ["WebHandler", "is_remote", "local_path", "path_manager", "register_handler", "why_missing"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def is_remote(path: str | os.PathLike) -> bool:
    """Whether ``path`` has a scheme, as ``zoo://...`` has."""
    return _SCHEME.match(os.fspath(path)) is not None


def local_path(path: str | os.PathLike) -> str:
    """The local file of ``path``, downloaded first if it is remote and not in the cache.

    A path without a scheme comes back as it is, whether there is such a file or not.

    Raises:
        UserError: nobody knows the scheme, or the file cannot be had.
    """
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        return text
    for managed in (_manager, path_manager):  # detectron2 is loaded only where nobody else knows the scheme
        manager = managed()
        prefixes = manager._path_handlers
        if any(text.startswith(prefix) for prefix in prefixes):
            return manager.get_local_path(text)
    known = ", ".join(sorted(prefix for prefix in prefixes if "://" in prefix))
    detectron2 = " (detectron2's need detectron2)" if match[1] in ("detectron2", "catalog") else ""
    raise UserError(f"{text}: nothing here reads {match[1]}:// paths{detectron2}; known are {known}")


def why_missing(path: str | os.PathLike, patience: float = 5.0) -> str:
    """Why :func:`local_path` would find no file; ``""`` if it would, or only a download could tell.

    Args:
        patience: seconds within which the server of a file that is not in the cache must answer.

    Raises:
        UserError: a catalogue or torchvision has no such entry.
    """
    text = os.fspath(path)
    if not is_remote(text):
        return "" if Path(text).exists() else f"{text} does not exist"
    for prefix, handler in _manager()._path_handlers.items():
        if text.startswith(prefix) and isinstance(handler, WebHandler):
            url = handler.url(text)
            return available(url, patience) if url else ""
    return ""


@functools.cache
def _manager() -> PathManager:
    manager = PathManager()
    manager.register_handler(WebHandler())
    return manager


def register_handler(handler: PathHandler) -> None:
    """Let :func:`local_path` read the paths of ``handler``; :mod:`modist_det.checkpoint` adds those of weights."""
    _manager().register_handler(handler)


@functools.cache
def path_manager() -> PathManager:
    """The one manager of this process, with the handlers of the web, of all that was registered and, where it is
    installed, of detectron2."""
    manager = _manager()
    try:
        from detectron2.utils.file_io import PathManager as theirs
    except ImportError:
        return manager
    for prefix, handler in theirs._path_handlers.items():
        if prefix not in manager._path_handlers:
            manager.register_handler(handler)
    return manager


class WebHandler(PathHandler):
    """``http://`` and ``https://`` through the cache of :mod:`~modist_det.utils.cache`. Read only."""

    def url(self, path: str) -> str:
        """The URL of the file of ``path``; "" if only a download can tell whether it can be had."""
        return path

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://"]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return str(fetch(path))

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> Any:
        if set(mode) & set("wax+"):
            raise UserError(f"{path} can only be read")
        return open(self._get_local_path(path), mode, buffering)  # noqa: PTH123
