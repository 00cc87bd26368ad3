"""``add_section``: config keys, their defaults and limits, declared beside the class that reads them.

Example::

    add_section(
        "MODEL.MY_BACKBONE",
        DEPTH=Key(50, COUNT),
        KERNEL=Key([1, 7, 7], ListOf(int, 3, COUNT)),  # (T, H, W)
        NORM="BN",  # no limit
    )
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .limits import FINITE, Limit, ListOf

__all__ = ["SECTIONS", "Key", "add_section"]


@dataclass(frozen=True)
class Key:
    """A config key's default, which fixes its type, and its limit.

    Attributes:
        limit: limit of a number, or of a list and its numbers.
    """

    default: Any
    limit: Limit | ListOf = FINITE


# Dotted name of a section ("": top level) -> key name -> key.
SECTIONS: dict[str, dict[str, Key]] = {}


def add_section(name: str, shared: Mapping[str, Any] | None = None, /, **keys: Any) -> dict[str, Key]:
    """Declare keys of the section ``name``; may be called several times for a section.

    Args:
        shared: keys shared with other sections; ``keys`` may override their defaults.
        keys: :class:`Key`, or a default without limits.

    Returns:
        The keys, which can be shared with other sections.

    Raises:
        ValueError: the section already has one of the keys.
    """
    declared = {key: value if isinstance(value, Key) else Key(value) for key, value in (shared or {}).items()}
    for key, value in keys.items():
        if not isinstance(value, Key):
            value = replace(declared[key], default=value) if key in declared else Key(value)
        declared[key] = value
    section = SECTIONS.setdefault(name, {})
    if twice := section.keys() & declared.keys():
        raise ValueError(f"config section {name or 'at the top'}: {', '.join(sorted(twice))} declared twice")
    section.update(declared)
    return declared
