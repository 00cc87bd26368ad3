"""Modules that a user names, imported so that what they register is found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from .errors import UserError

__all__ = ["import_modules", "named_modules"]

_NAMED: list[str] = []


def import_modules(names: Iterable[str], where: str) -> None:
    """Import modules by name, from wherever Python finds them and, after that, from the current folder.

    Args:
        where: the names were given, for messages.

    Raises:
        UserError: a name is none, or its module cannot be imported.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that no file in it takes the place of an installed package
    for name in names:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise UserError(
                f"{where}: {name!r} is no name of a module; give one such as my_package.my_module"
            )
        try:
            importlib.import_module(name)
        except Exception as error:
            raise UserError(
                f"{where}: the module {name} cannot be imported ({type(error).__name__}: {error}); modules are "
                f"searched among the installed packages, in $PYTHONPATH and in the current folder ({folder})"
            ) from error
        if name not in _NAMED:
            _NAMED.append(name)


def named_modules() -> list[str]:
    """The modules that were imported in this process by :func:`import_modules`, in order."""
    return list(_NAMED)
