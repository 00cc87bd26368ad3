"""Class names in a matplotlib figure."""

from __future__ import annotations

__all__ = ["shown_name"]

_LONGEST = 40


def shown_name(name: str) -> str:
    r"""A name as matplotlib text of one line: ``$`` begins no formula, and what cannot be printed is "�".

    Longer names than 40 characters are cut in their middle, as their ends often differ.
    """
    text = "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in name
    )
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}…{text[-half + 1 :]}"
    return text.replace("$", r"\$") or "(no name)"
