"""AVA's label maps: a small subset of protocol buffer text."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...utils.errors import UserError
from ...utils.paths import local_path
from ...utils.text_files import find_bad_character, read_text

__all__ = ["LabelEntry", "read_label_map"]

_TOKEN = re.compile(
    r"""(?P<space>[\s,;]+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}:])
    |(?P<word>[\w.+-]+)""",
    re.VERBOSE,
)
_LARGEST = 1 << 20  # bytes; the maps of thousands of classes have a tenth of it
# Text that programs write as bytes: "caf\303\251". What follows any other backslash is meant as it is.
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ID_FIELDS = ("id", "label_id")
_ONCE = ("name", *_ID_FIELDS, "label_type")  # fields of a block that may not be repeated


@dataclass(frozen=True)
class LabelEntry:
    """A class: its name and, where the map says it (AVA 2.2), its type, such as ``PERSON_MOVEMENT``."""

    name: str
    type: str = ""


def read_label_map(path: str | os.PathLike[str]) -> dict[int, LabelEntry]:
    """Classes by id, ascending.

    Reads ``item { name: "x" id: 1 }`` (AVA 2.1) and ``label { name: "x" label_id: 1 label_type: T }``
    (AVA 2.2); other fields are ignored, ``#`` begins a comment.

    Raises:
        UserError: the file is missing or not text, is malformed, defines no class, an id or a name twice, or a
            class lacks its name or its id or has several; names file and line.
    """
    text = read_text(local_path(path), f"label map {path}", _LARGEST)
    entries: dict[int, LabelEntry] = {}
    lines: dict[int, int] = {}
    numbers: dict[str, int] = {}
    for line, fields in _blocks(text, path):
        number, entry = _entry(fields, f"{path}:{line}")
        if number in entries:
            raise UserError(f"{path}:{line}: class id {number} was already given in line {lines[number]}")
        if entry.name in numbers:
            other = numbers[entry.name]
            raise UserError(
                f"{path}:{line}: class {number} is called {entry.name!r} like class {other} in line {lines[other]}; "
                "give each class a name of its own"
            )
        entries[number], lines[number], numbers[entry.name] = entry, line, number
    if not entries:
        raise UserError(
            f'{path}: no class in this label map; write blocks such as item {{ name: "walk" id: 1 }}'
        )
    return dict(sorted(entries.items()))


def _blocks(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line of its first word, fields) of every ``item {...}`` or ``label {...}``."""
    tokens = list(_tokens(text, path))
    end_line = text.count("\n") + 1
    tokens += [("end", "the end of the file", end_line)] * 3
    i = 0
    while tokens[i][0] != "end":
        (kind, word, line), (_, opening, _) = tokens[i], tokens[i + 1]
        if kind != "word" or word not in ("item", "label") or opening != "{":
            raise UserError(f"{path}:{line}: expected 'item {{' or 'label {{', found {word!r}")
        i += 2
        fields: dict[str, str] = {}
        while tokens[i][1] != "}" or tokens[i][0] != "mark":
            (kind, name, at), (_, colon, _), (value_kind, value, _) = tokens[i : i + 3]
            if kind != "word" or colon != ":" or value_kind not in ("word", "text"):
                raise UserError(f"{path}:{at}: expected a field such as 'id: 1' or '}}', found {name!r}")
            if name in fields and name in _ONCE:
                raise UserError(
                    f"{path}:{at}: this class has a second {name}, {value!r} after {fields[name]!r}; "
                    "a '}' and a new block may be missing"
                )
            fields[name] = value
            i += 3
        i += 1
        yield line, fields


def _tokens(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, str, int]]:
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].splitlines()[0]
            raise UserError(f"{path}:{line}: cannot read {rest!r}; a quote may be missing")
        kind, word = str(match.lastgroup), match.group()
        if kind == "text":
            try:
                yield kind, _ESCAPE.sub(_unescaped, word[1:-1].encode()).decode(), line
            except ValueError as error:
                raise UserError(
                    f"{path}:{line}: {word} is not UTF-8 text where a backslash is ({error})"
                ) from error
        elif kind != "space":
            yield kind, word, line
        line += word.count("\n")
        position = match.end()


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, byte, *characters, other = match.groups()
    if octal or byte:
        return bytes([int(octal, 8) if octal else int(byte, 16)])
    if number := characters[0] or characters[1]:
        return chr(int(number, 16)).encode()
    return _ESCAPES.get(other, other)


def _entry(fields: dict[str, str], where: str) -> tuple[int, LabelEntry]:
    numbers = [fields[name] for name in _ID_FIELDS if name in fields]
    if not fields.get("name", "").strip() or len(numbers) != 1:
        raise UserError(
            f"{where}: a class needs one name and one id, but this one has {sorted(fields) or 'nothing'}"
        )
    if not re.fullmatch(r"[0-9]{1,6}", numbers[0]) or int(numbers[0]) < 1:
        raise UserError(f"{where}: class id is {numbers[0]!r}, but ids are whole numbers from 1 to 999999")
    if bad := find_bad_character(fields["name"]):
        raise UserError(f"{where}: the name of class {numbers[0]} has the character {bad}")
    return int(numbers[0]), LabelEntry(fields["name"], fields.get("label_type", ""))
