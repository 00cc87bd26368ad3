"""Parameter names of another code base and ours, in one table that serves reading and writing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import Formatter

__all__ = ["NameTable", "Parts"]

Parts = Mapping[str, "str | Mapping[str, str]"]


class NameTable:
    r"""Pairs of templates (theirs, ours), in which ``{part}`` stands for a part of a name.

    Args:
        pairs: the first that matches a name counts.
        parts: for each part a mapping from their text to ours, or a pattern for text that is the same in both names, or
            that only their name has.

    Example::

        table = NameTable([("layer{stage}.{rest}", "res{stage}.{rest}")], {"stage": {"1": "2"}, "rest": r"\w+"})
        table.ours("layer1.bias")  # "res2.bias"
        table.theirs("res2.bias")  # "layer1.bias"
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], parts: Parts) -> None:
        inverse: Parts = {
            name: part if isinstance(part, str) else {ours: theirs for theirs, ours in part.items()}
            for name, part in parts.items()
        }
        self._to_ours = [(_pattern(theirs, parts), ours, parts) for theirs, ours in pairs]
        self._to_theirs = [(_pattern(ours, inverse), theirs, inverse) for theirs, ours in pairs]

    def ours(self, name: str) -> str | None:
        """Our name for ``name``; ``None`` if no template matches."""
        return _translate(name, self._to_ours, {})

    def theirs(self, name: str, **known: str) -> str | None:
        """Their name for ``name``; ``known`` has the parts that only their names have."""
        return _translate(name, self._to_theirs, known)


def _pattern(template: str, parts: Parts) -> re.Pattern[str]:
    pattern = ""
    for text, name, _, _ in Formatter().parse(template):
        pattern += re.escape(text)
        if name is not None:
            part = parts[name] or "(?!)"  # of an empty mapping, nothing
            texts = part if isinstance(part, str) else "|".join(map(re.escape, part))
            pattern += f"(?P<{name}>{texts})"
    return re.compile(pattern)


def _translate(
    name: str, rows: list[tuple[re.Pattern[str], str, Parts]], known: dict[str, str]
) -> str | None:
    for pattern, template, parts in rows:
        if match := pattern.fullmatch(name):
            found = dict(known)
            for part, text in match.groupdict().items():
                table = parts[part]
                found[part] = text if isinstance(table, str) else table[text]
            return template.format(**found)
    return None
