"""Modules that a user names, imported so that what they register is found."""

from __future__ import annotations

import importlib
import sys
import traceback
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
            if (
                isinstance(error, ModuleNotFoundError)
                and error.name
                and f"{name}.".startswith(f"{error.name}.")
            ):
                reason = f"among the installed packages, in $PYTHONPATH and in the current folder ({folder})"
                raise UserError(f"{where}: there is no module {name} {reason}") from error
            raise UserError(f"{where}: the module {name} cannot be imported: {_describe(error)}") from error
        if name not in _NAMED:
            _NAMED.append(name)


def _describe(error: Exception) -> str:
    """What went wrong, and in which line of the module whose own code was running."""
    lines = traceback.extract_tb(error.__traceback__)
    machinery = [place for place, line in enumerate(lines) if line.filename.startswith("<frozen importlib")]
    own = lines[machinery[-1] + 1 :] if machinery else []  # none of a module that cannot be compiled
    where = f" ({own[0].filename}, line {own[0].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def named_modules() -> list[str]:
    """The modules that were imported in this process by :func:`import_modules`, in order."""
    return list(_NAMED)
