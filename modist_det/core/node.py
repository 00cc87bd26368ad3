"""``CfgNode``: fvcore's config node with checked types, limits and ``VERSION``, and errors that suggest the nearest
key."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from pathlib import Path
from typing import Any

from fvcore.common.config import BASE_KEY
from fvcore.common.config import CfgNode as _FvcoreCfgNode

from ..utils.errors import UserError, nearest
from ..utils.paths import is_remote, local_path
from ..utils.plugins import import_modules, named_modules
from ..utils.text_files import expand_user, find_bad_character
from ..utils.yaml_reading import parse_yaml, read_yaml
from .elsewhere import ELSEWHERE
from .limits import Limit, ListOf, find_fault
from .sections import SECTIONS, Key, add_section

__all__ = ["CONFIG_VERSION", "CfgNode", "default_config", "flatten", "lay_over", "limit_of", "read_config"]

CONFIG_VERSION = 1
_IMPORTS = "IMPORTS"
add_section(
    "",
    VERSION=Key(CONFIG_VERSION, Limit(CONFIG_VERSION, CONFIG_VERSION)),
    # Modules to import before the rest of a config is read: their classes register themselves and their sections.
    # Modules given with --import are included, so that a run's config.yaml is complete.
    IMPORTS=Key([], ListOf(str)),
)

_TYPE_NAMES = {float: "a number", int: "a whole number", bool: "True or False", str: "text", list: "a list"}


def flatten(node: dict, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class CfgNode(_FvcoreCfgNode):
    """A tree of settings with attribute access; every key has a default and no other key exists.

    Example::

        cfg = get_cfg()
        cfg.merge_from_file("configs/AVA/Slow_R50_8x8.yaml")
        cfg.merge_from_list(["SOLVER.BASE_LR", "0.1"])
    """

    def merge_from_file(self, cfg_filename: str | os.PathLike, allow_unsafe: bool = False) -> None:
        """Merge a YAML file or URL, after the files in its ``_BASE_`` (paths relative to it).

        The modules of its ``IMPORTS`` are imported first, unless it is a URL: see :meth:`merge_from_text`.

        Raises:
            UserError: the file is missing, is not a YAML mapping, was written for another config
                ``VERSION``, or sets a key that does not exist or a value of the wrong type.
        """
        path = Path(local_path(cfg_filename))
        self._merge_checked(read_config(path), str(path), may_import=not is_remote(cfg_filename))

    def merge_from_text(self, text: str, where: str) -> None:
        """Merge YAML text, such as the config in a checkpoint; ``where`` is its origin, for errors.

        It never imports modules, because a downloaded file must not choose what code runs. The modules in its
        ``IMPORTS`` must be imported already.

        Raises:
            UserError: as :meth:`merge_from_file`, or a module of ``IMPORTS`` has not been imported.
        """
        self._merge_checked(_mapping(parse_yaml(text, where), where), where, may_import=False)

    def merge_from_list(self, cfg_list: list) -> None:
        """Merge ``[KEY, VALUE, KEY, VALUE, ...]``; keys are dotted, values Python literals or text.

        Raises:
            UserError: an odd number of entries, an unknown key or a value of the wrong type.
        """
        if len(cfg_list) % 2:
            raise UserError(
                f"config overrides come in KEY VALUE pairs, but {len(cfg_list)} words were given: {cfg_list}"
            )
        pairs = list(zip(cfg_list[0::2], cfg_list[1::2], strict=True))
        for key, value in pairs:
            if key == _IMPORTS:
                self._import(self._decode_cfg_value(value), "the command line")
        for key, value in pairs:
            if key != _IMPORTS:
                self._assign(key, self._decode_cfg_value(value), "the command line")

    def changes_from(self, text: str, where: str) -> list[str]:
        """Compare with ``text``, an earlier :meth:`dump`; returns changed keys as ``"KEY 2, before 1"``.

        Keys that only one of the two has are ignored.

        Raises:
            UserError: ``text`` is not a YAML mapping; ``where`` is its origin.
        """
        before = flatten(_mapping(parse_yaml(text, where), where))
        now = flatten(_mapping(parse_yaml(self.dump(), "this config"), "this config"))
        return [
            f"{key} {value!r}, before {before[key]!r}"
            for key, value in now.items()
            if key in before and before[key] != value
        ]

    def join_sections(self) -> None:
        """Add sections and keys declared since this tree was created, with their defaults."""
        for name in sorted(SECTIONS):  # outer sections first, independent of the import order
            node = self
            for part in name.split(".") if name else []:
                node = node.setdefault(part, CfgNode())
            for key, declared in SECTIONS[name].items():
                node.setdefault(key, copy.deepcopy(declared.default))

    def _merge_checked(self, loaded: dict, where: str, may_import: bool) -> None:
        version = loaded.get("VERSION", CONFIG_VERSION)
        if version != CONFIG_VERSION:
            raise UserError(
                f"{where}: VERSION is {version!r}, but this release reads version {CONFIG_VERSION}; "
                "update the file's keys and set its VERSION"
            )
        if _IMPORTS in loaded:
            self._import(loaded[_IMPORTS], where, may_import)
        for key, value in flatten(loaded).items():
            if key != _IMPORTS:
                self._assign(key, value, where)

    def _import(self, value: Any, where: str, may_import: bool = True) -> None:
        """Import modules and add their sections; earlier entries are kept."""
        before = self.get(_IMPORTS, [])
        self._assign(_IMPORTS, value, where)
        names, self[_IMPORTS] = self[_IMPORTS], before
        missing = [name for name in names if name not in sys.modules]
        if missing and not may_import:
            raise UserError(
                f"{where}: it was made with the module {missing[0]} ({_IMPORTS}), which has not been imported, because "
                f"a downloaded file must not choose what code runs; if you trust the module, add --import {missing[0]} "
                f"(in Python: import {missing[0]})"
            )
        import_modules(names, f"{where}: {_IMPORTS}")
        self[_IMPORTS] = list(dict.fromkeys([*before, *names]))
        self.join_sections()

    def _assign(self, key: str, value: Any, where: str) -> None:
        self._check_key(key, where)
        *sections, leaf = key.split(".")
        node = self
        for section in sections:
            node = node[section]
        node[leaf] = _coerce(value, node[leaf], key, where)
        reason = find_fault(node[leaf], limit_of(key))
        if reason:
            raise UserError(f"{where}: {key} is {value!r}, but {reason}")

    def _check_key(self, key: str, where: str) -> None:
        known = flatten(self)
        if key in known:
            return
        if key in ELSEWHERE:
            raise UserError(f"{where}: there is no config key {key!r}; here it is {ELSEWHERE[key]}")
        group = [name for name in known if name.startswith(f"{key}.")]
        if group:
            raise UserError(f"{where}: {key} is a group of keys, not a value (for example {group[0]})")
        # The most common mistake is a key in the wrong section: compare last parts first.
        leaf = key.rsplit(".", 1)[-1]
        same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
        hint = f"; did you mean {min(same_leaf, key=len)!r}?" if same_leaf else nearest(key, known)
        raise UserError(f"{where}: there is no config key {key!r}{hint}")


def default_config() -> CfgNode:
    """A config with the defaults of all sections declared so far."""
    cfg = CfgNode()
    cfg.join_sections()
    cfg.IMPORTS = named_modules()
    return cfg


def limit_of(key: str) -> Limit | ListOf:
    """The limit of the dotted ``key``; any finite number if it is not declared."""
    section, _, leaf = key.rpartition(".")
    return SECTIONS.get(section, {}).get(leaf, Key(None)).limit


def _coerce(value: Any, default: Any, key: str, where: str) -> Any:
    """``value`` in the type of ``default``: 1 and "1e-4" are floats where a float is expected."""
    wanted = type(default)
    for entry in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(entry, str) and (bad := find_bad_character(entry)):
            raise UserError(f"{where}: {key} has the character {bad}, which no file name or text can have")
        if isinstance(entry, int) and abs(entry) >= 2**63:
            raise UserError(f"{where}: {key} has a number of more than 64 bits")
    if wanted is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    if wanted is list and isinstance(value, (list, tuple)):
        return list(value)
    if wanted is list and isinstance(value, str):
        return [value]
    if wanted is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if type(value) is wanted:
        return value
    raise UserError(f"{where}: {key} is {value!r}, but takes {_TYPE_NAMES[wanted]} (default {default!r})")


def _mapping(loaded: Any, where: str) -> dict:
    if loaded is not None and not isinstance(loaded, dict):
        raise UserError(f"{where} holds {type(loaded).__name__}, not a mapping of keys to values")
    if loaded:
        _check_key_names(loaded, where)
    return loaded or {}


def _check_key_names(loaded: dict, where: str) -> None:
    for key, value in loaded.items():
        if not isinstance(key, str):
            raise UserError(f"{where}: the key {key!r} is {type(key).__name__}, not a name")
        if isinstance(value, dict):
            _check_key_names(value, where)


def read_config(path: Path, seen: tuple[Path, ...] = ()) -> dict:
    """Read the mapping in ``path``, merged over those of its ``_BASE_`` files (a path or a list), unchecked.

    Raises:
        UserError: a file is missing or not a mapping, or ``_BASE_`` is circular.
    """
    name = f"config file {path}"
    loaded = _mapping(read_yaml(path, name), name)
    resolved = path.resolve()
    if resolved in seen:
        raise UserError(f"config file {path}: {BASE_KEY} leads back to the file itself")
    if isinstance(loaded.get(_IMPORTS), str):
        loaded[_IMPORTS] = [loaded[_IMPORTS]]
    bases = loaded.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"config file {path}: {BASE_KEY} is {bases!r}, but takes a path or a list of paths")
    merged: dict = {}
    for base in bases:
        base_path = expand_user(base)
        base_path = base_path if base_path.is_absolute() else path.parent / base_path
        if not base_path.is_file():
            raise UserError(f"config file {path}: its {BASE_KEY} {base_path} does not exist")
        merged = lay_over(merged, read_config(base_path, (*seen, resolved)))
    return lay_over(merged, loaded)


def lay_over(below: dict, above: dict) -> dict:
    """The mapping ``below`` with the values of ``above`` in their places, section by section."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = lay_over(merged[key], value)
        elif key == _IMPORTS and isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = merged[key] + value  # a file also needs the modules of its base files
        else:
            merged[key] = value
    return merged
