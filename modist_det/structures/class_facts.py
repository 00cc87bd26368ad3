"""Facts about a model's outputs: class names, and how keyframes were annotated.

They come from the training datasets, are stored in checkpoints and exports, and are compared whenever weights are used
with data, so that a class id has a single meaning in a run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..utils.errors import UserError
from ..utils.json_reading import malformed, parse_json

__all__ = [
    "FIRST_ID",
    "ClassFacts",
    "KeyframeFacts",
    "check_same_classes",
    "class_name",
    "disagreement",
    "join_facts",
    "parse_facts",
    "renumbered",
]

_VERSION = 1
_MAX_CLASSES = 999_999  # as in label maps
_LONGEST = 1_000  # maximum length of a name
FIRST_ID = {"detection": 1, "classification": 0}  # class id of channel 0


@dataclass(frozen=True)
class KeyframeFacts:
    """How keyframes are named and spaced in AVA-style data.

    Attributes:
        fps: frame rate of frame folders.
        first_second: annotated second of each video's first frame.
        spacing: seconds between keyframes.
    """

    fps: float
    first_second: float
    spacing: float


@dataclass(frozen=True)
class ClassFacts:
    """The classes of a dataset or of a model.

    Attributes:
        task: "detection" or "classification".
        num_classes: width of a model's output.
        names: by class id, ascending; ids begin at 1 and may have gaps in detection (class id ``c`` is channel
            ``c - 1``), and are indices from 0 in classification.
        types: AVA's label type, such as "PERSON_MOVEMENT", of the classes that have one.
        keyframes: keyframe facts of detection data.
        source: where the facts come from, for messages: "dataset puppets_val", or a checkpoint's path.
    """

    task: str
    num_classes: int
    names: Mapping[int, str]
    types: Mapping[int, str] = field(default_factory=dict)
    keyframes: KeyframeFacts | None = None
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or JSON; :func:`parse_facts` reads them."""
        keyframes = self.keyframes
        return {
            "version": _VERSION,
            "task": self.task,
            "num_classes": self.num_classes,
            "classes": [
                {"id": number, "name": name}
                | ({"type": self.types[number]} if self.types.get(number) else {})
                for number, name in self.names.items()
            ],
            "keyframes": None
            if keyframes is None
            else {
                "fps": keyframes.fps,
                "first_second": keyframes.first_second,
                "spacing": keyframes.spacing,
            },
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as text, for the metadata of safetensors and ONNX files."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def parse_facts(content: Any, source: str) -> ClassFacts:
    """Parse and validate the output of :meth:`ClassFacts.to_dict` or :meth:`ClassFacts.to_json`.

    Args:
        content: the dict, or JSON text.
        source: the file of origin, for messages.

    Raises:
        UserError: the content is invalid.
    """
    what = f"{source}: its class facts are damaged"
    if isinstance(content, str):
        content = parse_json(content, f"{what}: it")
    with malformed(what):
        return _parse(content, source)


def _parse(content: Any, source: str) -> ClassFacts:
    if not isinstance(content, Mapping) or content.get("version") != _VERSION:
        raise ValueError(f"it is not of version {_VERSION}")
    task, num_classes = content["task"], content["num_classes"]
    if not isinstance(task, str) or task not in FIRST_ID:
        raise ValueError(f"its task is not one of {', '.join(FIRST_ID)}")
    if type(num_classes) is not int or not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(f"the number of classes is not a whole number from 1 to {_MAX_CLASSES}")
    first = FIRST_ID[task]
    names: dict[int, str] = {}
    types: dict[int, str] = {}
    if not isinstance(content["classes"], list) or not content["classes"]:
        raise ValueError("its classes are not a list, or there are none")
    for entry in content["classes"]:
        number, name, kind = entry["id"], entry["name"], entry.get("type", "")
        if type(number) is not int or not first <= number < num_classes + first or number in names:
            raise ValueError(
                f"a class id is not a whole number from {first} to {num_classes + first - 1}, or is there twice"
            )
        if not (isinstance(name, str) and isinstance(kind, str) and name.strip()):
            raise ValueError(f"the name or type of class {number} is not text, or is empty")
        if max(len(name), len(kind)) > _LONGEST:
            raise ValueError(f"the name or type of class {number} has more than {_LONGEST} letters")
        names[number] = name
        if kind:
            types[number] = kind
    return ClassFacts(
        task, num_classes, dict(sorted(names.items())), types, _keyframes(content.get("keyframes")), source
    )


def _keyframes(content: Any) -> KeyframeFacts | None:
    if content is None:
        return None
    fps, first_second, spacing = (content[key] for key in ("fps", "first_second", "spacing"))
    for value, positive in ((fps, True), (first_second, False), (spacing, True)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or (positive and value <= 0):
            raise ValueError("its facts about keyframes are not numbers, or not positive")
    return KeyframeFacts(float(fps), float(first_second), float(spacing))


# ---- comparing --------------------------------------------------------------------------------


def disagreement(one: ClassFacts, other: ClassFacts) -> str:
    """A message about the first class on which the two disagree; "" if they agree on all classes that both name.

    Each may have classes that the other lacks. Case, spaces and underscores are ignored. Placeholder names ("class 3")
    agree with any name.
    """
    word = "class id" if one.task == "detection" else "class index"
    of_one, of_other = _comparable(one, other)
    for number in sorted(of_one.keys() & of_other.keys()):
        if of_one[number] != of_other[number]:
            elsewhere = other.names[number + FIRST_ID[other.task] - FIRST_ID[one.task]]
            return f"{word} {number} is {one.names[number]!r} in {one.source}, but {elsewhere!r} in {other.source}"
    for number, there in _moved(of_one, of_other):
        return (
            f"class {one.names[number]!r} has {word.removeprefix('class ')} {number} in {one.source}, "
            f"but {there} in {other.source}"
        )
    return ""


def renumbered(one: ClassFacts, other: ClassFacts) -> bool:
    """Whether any class has a different id in the other."""
    return bool(_moved(*_comparable(one, other)))


def check_same_classes(*sets: ClassFacts) -> None:
    """Raise ``UserError`` if two of ``sets`` give a class different ids, or an id different names."""
    for i, later in enumerate(sets):
        for earlier in sets[:i]:
            if difference := disagreement(earlier, later):
                raise UserError(f"{difference}; use the same class file for both")


def class_name(names: Mapping[int, str], number: int) -> str:
    """Name of a class, or the placeholder ``"class 7"``."""
    return names.get(number, f"class {number}")


def join_facts(sets: Iterable[ClassFacts]) -> ClassFacts | None:
    """Merge the facts of several datasets, with the keyframe facts of the first; None without datasets.

    Raises:
        UserError: see :func:`check_same_classes`.
    """
    sets = list(sets)
    if not sets:
        return None
    check_same_classes(*sets)
    names: dict[int, str] = {}
    types: dict[int, str] = {}
    for facts in sets:
        for number, name in facts.names.items():
            if number not in names or _is_placeholder(number, names[number]):
                names[number] = name
        types = {**facts.types, **types}
    return ClassFacts(
        sets[0].task,
        max(facts.num_classes for facts in sets),
        dict(sorted(names.items())),
        types,
        sets[0].keyframes,
        " and ".join(dict.fromkeys(facts.source for facts in sets))
        if len(sets) < 3
        else "the run's datasets",
    )


def _comparable(one: ClassFacts, other: ClassFacts) -> tuple[dict[int, str], dict[int, str]]:
    """Simplified names of both without placeholders, by the ids of ``one``.

    Names are not simplified if that would make two names of a map equal.
    """
    for simplify in (_simplified, str):
        sides = [
            {
                number + FIRST_ID[one.task] - FIRST_ID[facts.task]: simplify(name)
                for number, name in facts.names.items()
                if not _is_placeholder(number, name)
            }
            for facts in (one, other)
        ]
        if all(len(set(side.values())) == len(side) for side in sides):
            break
    return sides[0], sides[1]


def _moved(one: Mapping[int, str], other: Mapping[int, str]) -> list[tuple[int, int]]:
    """(id, id in the other) of names with different ids."""
    numbers = {name: number for number, name in other.items()}
    return [
        (number, numbers[name])
        for number, name in one.items()
        if numbers.get(name, number) != number and other.get(number) != name
    ]


def _simplified(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()


def _is_placeholder(number: int, name: str) -> bool:
    return name.strip().casefold() in (f"class {number}", str(number))
