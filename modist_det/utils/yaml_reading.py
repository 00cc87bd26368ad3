"""Read YAML from files that may be damaged or malicious.

PyYAML's safe loader runs no code, but a value such as ``2020-99-99`` raises a ``ValueError``, the last of several equal
keys wins silently, and nested aliases can expand a few hundred bytes to gigabytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import yaml

from .errors import UserError
from .text_files import find_bad_character, read_text

__all__ = ["parse_yaml", "read_yaml"]

_LARGEST = 1 << 20  # bytes
_DEEPEST = 50
_MOST_NODES = 100_000  # with aliases expanded
_LONGEST_NUMBER = 1000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_MERGE = "tag:yaml.org,2002:merge"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: str | os.PathLike, name: str = "") -> Any:
    """The content of a YAML file; ``None`` if it is empty.

    Raises:
        UserError: as for :func:`.read_text` and :func:`parse_yaml`.
    """
    name = name or str(path)
    return parse_yaml(read_text(path, name, _LARGEST), name)


def parse_yaml(text: str, name: str) -> Any:
    """Plain values from YAML text.

    Args:
        name: its origin, for messages.

    Raises:
        UserError: it is not YAML, has a duplicate key or an invalid value, or is larger than any real config: too long,
            too deep, or too large with its aliases expanded.
    """
    if len(text) > _LARGEST:
        raise UserError(f"{name} has {len(text):,} characters of YAML; at most {_LARGEST:,} are read")
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except Exception as error:  # constructors of dates, numbers and base64 raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is not valid YAML: {reason}") from error


@dataclass
class _Open:
    """A list or mapping whose end has not been reached."""

    anchor: str | None
    keys: set[tuple[str, str]] | None  # of a mapping
    key_next: bool = True
    size: int = 1


@dataclass
class _Tree:
    open: list[_Open] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, size: int, anchor: str | None = None) -> None:
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open:
            parent = self.open[-1]
            parent.size += size
            parent.key_next = not parent.key_next
            if parent.size > _MOST_NODES:
                raise ValueError(f"with its aliases expanded it has more than {_MOST_NODES:,} entries")


def _check_events(text: str) -> None:
    """Reject what the loader would silently accept or fail on."""
    loader = _Loader(text)
    try:
        tree = _Tree()
        while loader.check_event():
            event = loader.get_event()
            where = f"(line {event.start_mark.line + 1})"
            if isinstance(event, yaml.ScalarEvent):
                _check_scalar(event, loader, tree, where)
                tree.add(1, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in tree.sizes:
                    raise ValueError(f"*{event.anchor} comes before or inside its anchor {where}")
                tree.add(tree.sizes[event.anchor])
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if len(tree.open) == _DEEPEST:
                    raise ValueError(f"it is nested more than {_DEEPEST} levels deep {where}")
                tree.sizes.pop(event.anchor or "", None)
                tree.open.append(
                    _Open(event.anchor, set() if isinstance(event, yaml.MappingStartEvent) else None)
                )
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                ended = tree.open.pop()
                tree.add(ended.size, ended.anchor)
    finally:
        loader.dispose()


def _check_scalar(event: yaml.ScalarEvent, loader: Any, tree: _Tree, where: str) -> None:
    if bad := find_bad_character(event.value):
        raise ValueError(f"a value contains the character {bad} {where}")
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag in _NUMBERS and len(event.value) > _LONGEST_NUMBER:
        raise ValueError(f"a number has {len(event.value):,} digits {where}")
    mapping = tree.open[-1] if tree.open else None
    if mapping is not None and mapping.keys is not None and mapping.key_next and tag != _MERGE:
        if (tag, event.value) in mapping.keys:
            raise ValueError(f"duplicate key {event.value!r} {where}")
        mapping.keys.add((tag, event.value))
