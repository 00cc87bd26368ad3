"""Class names as matplotlib text."""

from __future__ import annotations

__all__ = ["shown_name"]

_LONGEST = 40


def shown_name(name: str) -> str:
    r"""A name as one line of matplotlib text: ``$`` is escaped, and unprintable characters become "�".

    Names of more than 40 characters are shortened in the middle, because their ends often differ.
    """
    text = "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in name
    )
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}…{text[-half + 1 :]}"
    return text.replace("$", r"\$") or "(no name)"
