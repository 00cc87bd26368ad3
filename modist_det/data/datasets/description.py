"""Description files: a custom dataset in a few lines of YAML.

::

    format: ava                      # which reader
    videos: videos                   # its arguments; paths are relative to this file
    annotations: annotations.csv
    label_map: label_map.pbtxt

``~`` and ``$VARIABLES`` in paths are expanded, URLs are downloaded. New formats are added with
:func:`register_format`.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from ...utils.errors import UserError, nearest
from ...utils.paths import is_remote, local_path
from ...utils.text_files import expand_user
from ...utils.yaml_reading import read_yaml
from ...video.packed import folder_of_url

__all__ = [
    "check_folders",
    "check_number",
    "check_path",
    "check_share",
    "format_names",
    "load_description",
    "register_format",
]


class _Format(NamedTuple):
    factory: Callable[..., Any]
    path_arguments: frozenset[str]


_FORMATS: dict[str, _Format] = {}


def register_format(name: str, factory: Callable[..., Any], path_arguments: Collection[str]) -> None:
    """Make ``format: NAME`` in a description file call ``factory(name=..., **the file's other keys)``.

    Args:
        path_arguments: the arguments that are paths; ``videos`` may be a list of paths.
    """
    if name in _FORMATS:
        raise ValueError(f"the format {name!r} is registered twice")
    _FORMATS[name] = _Format(factory, frozenset(path_arguments))


def format_names() -> list[str]:
    return sorted(_FORMATS)


def load_description(path: str | os.PathLike) -> Any:
    """Load the dataset from a description file; its default ``name`` is the file's name.

    Raises:
        UserError: the file is missing or not a YAML mapping, the format is unknown, a key is unknown or missing, or a
            path is not text.
    """
    path = Path(path)
    settings = _read_mapping(path)
    if "format" not in settings:
        raise UserError(f"{path}: there is no 'format:' line; formats are {', '.join(format_names())}")
    format_name = settings.pop("format")
    if not isinstance(format_name, str) or format_name not in _FORMATS:
        hint = nearest(str(format_name), _FORMATS)
        raise UserError(
            f"{path}: unknown format {format_name!r}{hint} (formats are {', '.join(format_names())})"
        )
    factory, path_arguments = _FORMATS[format_name]
    settings.setdefault("name", path.stem)
    _check_keys(settings, factory, path)
    for key in path_arguments & settings.keys():
        if settings[key] is not None:
            settings[key] = _resolve(settings[key], path, key)
    try:
        return factory(**settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def check_number(name: str, value: object, above: float = -math.inf) -> float:
    """Convert ``value`` to a float; raises ``UserError`` unless it is a finite number above ``above``."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and above < value < math.inf:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    limit = f" above {above:g}" if math.isfinite(above) else ""
    raise UserError(f"{name} is {value!r}, but must be a number{limit}")


def check_share(name: str, value: object) -> float:
    """Convert ``value`` to a float; raises ``UserError`` unless it is a number from 0 to 1."""
    share = check_number(name, value)
    if not 0 <= share <= 1:
        raise UserError(f"{name} is {share:g}, but must be a fraction from 0 to 1")
    return share


def check_folders(videos: object) -> list[str]:
    """The argument ``videos``, a path or several, as a list; raises ``UserError`` if it is another thing or empty."""
    folders = [videos] if isinstance(videos, (str, os.PathLike)) else list(videos or [])  # type: ignore[call-overload]
    if not folders:
        raise UserError("'videos' names no folder")
    return [check_path("videos", folder) for folder in folders]


def check_path(name: str, value: object) -> str:
    """``value`` as text; raises ``UserError`` unless it is a path."""
    if not isinstance(value, (str, os.PathLike)):
        raise UserError(f"{name} is {value!r}, but takes one path")
    return os.fspath(value)


def _read_mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(
            f"dataset description {path} does not exist; datasets/README.md says how to write one (your own data)"
        )
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise UserError(f"{path} is not a mapping of keys to values such as 'format: ava'")
    return settings


def _check_keys(settings: dict[str, Any], factory: Callable[..., Any], path: Path) -> None:
    parameters = inspect.signature(factory).parameters
    for key in settings:
        if key not in parameters:
            known = ", ".join(parameters)
            raise UserError(f"{path}: unknown key {key!r}{nearest(str(key), parameters)} (keys are {known})")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and settings.get(key) is None:
            raise UserError(f"{path}: the key {key!r} is missing")


def _resolve(value: Any, description: Path, key: str) -> Any:
    if isinstance(value, list) and key == "videos":
        return [_resolve(entry, description, "a folder of videos") for entry in value]
    if not isinstance(value, str):
        several = " or a list of paths" if key == "videos" else ""
        raise UserError(f"{description}: {key} is {value!r}, but takes a path{several}")
    if is_remote(value):
        return folder_of_url(value) if key in ("videos", "a folder of videos") else local_path(value)
    return str(description.parent / expand_user(os.path.expandvars(value)))
