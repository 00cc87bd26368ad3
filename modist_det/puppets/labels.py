"""The twelve classes: seven poses, exactly one per person at any time, and five gestures."""

from __future__ import annotations

__all__ = ["CLASS_IDS", "CLASS_NAMES", "GESTURES", "LABEL_TYPES", "POSES", "label_map_text"]

POSES = ("stand", "walk", "run", "jump", "crouch", "fall", "turn")
GESTURES = ("wave", "clap", "point", "punch", "kick")
CLASS_NAMES: dict[int, str] = dict(enumerate(POSES + GESTURES, start=1))
CLASS_IDS: dict[str, int] = {name: number for number, name in CLASS_NAMES.items()}
# AVA's label types, so that means per type can be computed here, too.
LABEL_TYPES: dict[str, str] = {
    **dict.fromkeys(POSES, "PERSON_MOVEMENT"),
    **dict.fromkeys(GESTURES, "OBJECT_MANIPULATION"),
}


def label_map_text() -> str:
    """The label map in AVA 2.2 syntax."""
    return "".join(
        f'label {{\n  name: "{name}"\n  label_id: {number}\n  label_type: {LABEL_TYPES[name]}\n}}\n'
        for number, name in CLASS_NAMES.items()
    )
