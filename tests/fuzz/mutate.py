"""Damage that files meet: bytes that flip, parts that are cut out, zeroed, doubled, joined."""

from __future__ import annotations

import numpy as np

__all__ = ["NASTY_TEXTS", "NASTY_VALUES", "mutate_bytes", "mutate_text", "mutate_tree"]

NASTY_TEXTS = (
    "", " ", "\0", "\ufeff", "nan", "inf", "-inf", "NaN", "1e999", "-1e999", "-0.0", "1_000", "0x10",
    "1e-400", "٣", "²", "½", "9" * 400, "-1", "0", "1.0", "1,5", "+7", "true", "null", "None", "~",
    "~nosuchuser", "../../etc/x", "/dev/null", "a\nb", "a\r", '"', "'", '""', "\\", "\ud800", "é" * 200,
    "x" * 5000, "=1+1", "@SUM(A1)", "$HOME", "${", "%s%n", "{}", "[]", "!!python/object:os.system",
    "<script>", "\u202e", "2020-99-99", "!!int ''", "&a [*a]", "- -", "https://[", "//",
)  # fmt: skip
NASTY_VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5, 1e308, -1e308,
    5e-324, float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None], {"a": 1}, [0] * 5, [1e999] * 4,
    *NASTY_TEXTS,
)  # fmt: skip
_SPECIAL_BYTES = (0, 1, 0x7F, 0x80, 0xFF)


def _span(rng: np.random.Generator, length: int) -> tuple[int, int]:
    """A part of ``length`` bytes, mostly a short one."""
    size = int(min(length, 2 ** rng.uniform(0, np.log2(length + 1)))) if length else 0
    start = int(rng.integers(0, length - size + 1))
    return start, start + size


def mutate_bytes(rng: np.random.Generator, data: bytes, other: bytes = b"", rounds: int = 0) -> bytes:
    """``data`` damaged in one or a few ways; ``other`` is what it may be joined with."""
    for _ in range(rounds or 1 + int(rng.geometric(0.6))):
        start, end = _span(rng, len(data))
        way = rng.choice(
            ["flip", "set", "cut", "truncate", "zero", "double", "insert", "noise", "move", "number", "join"],
            p=[0.25, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.1, 0.05, 0.1, 0.05],
        )
        changed = bytearray(data)
        if way in ("flip", "set") and data:
            for position in rng.integers(0, len(data), min(int(rng.geometric(0.3)), 50)).tolist():
                changed[position] = (
                    changed[position] ^ (1 << int(rng.integers(8)))
                    if way == "flip"
                    else int(rng.choice(_SPECIAL_BYTES))
                )
        elif way == "cut":
            del changed[start:end]
        elif way == "truncate":
            del changed[int(rng.integers(0, len(data) + 1)) :]
        elif way == "zero":
            changed[start:end] = bytes(end - start)
        elif way == "double":
            changed[end:end] = data[start:end]
        elif way == "insert":
            changed[start:start] = rng.bytes(int(rng.geometric(0.1)))
        elif way == "noise":
            changed[start:end] = rng.bytes(end - start)
        elif way == "move":
            piece = data[start:end]
            del changed[start:end]
            place = int(rng.integers(0, len(changed) + 1))
            changed[place:place] = piece
        elif way == "number" and len(data) >= 8:  # a field of a header
            width = int(rng.choice([1, 2, 4, 8]))
            place = int(rng.integers(0, min(len(data), 4096) - width + 1))
            value = int(
                rng.choice([0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62])
            )
            order = "big" if rng.random() < 0.5 else "little"
            changed[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, order)
        elif way == "join":
            changed += other or data
        data = bytes(changed)
    return data


def mutate_text(rng: np.random.Generator, text: str) -> bytes:
    """Text damaged as people and programs do: cells, lines and encodings, or plain bytes."""
    for _ in range(1 + int(rng.geometric(0.6))):
        lines = text.split("\n")
        row = int(rng.integers(len(lines)))
        separator = str(rng.choice([",", " ", ":", "{", '"']))
        cells = lines[row].split(separator)
        cell = int(rng.integers(len(cells)))
        nasty = str(NASTY_TEXTS[rng.integers(len(NASTY_TEXTS))])
        way = rng.choice(["cell", "cell", "drop", "line", "repeat", "swap", "insert", "ends"])
        if way == "cell":
            cells[cell] = nasty
        elif way == "drop":
            del cells[cell]
        elif way == "insert":
            cells.insert(cell, nasty)
        lines[row] = separator.join(cells)
        if way == "line":
            del lines[row]
        elif way == "repeat":
            lines[row:row] = [lines[row]] * int(rng.integers(1, 4))
        elif way == "swap":
            other = int(rng.integers(len(lines)))
            lines[row], lines[other] = lines[other], lines[row]
        text = ("\r\n" if way == "ends" else "\n").join(lines)
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    errors = "surrogatepass" if encoding != "latin-1" and rng.random() < 0.2 else "replace"
    data = text.encode(encoding, errors)
    return mutate_bytes(rng, data) if rng.random() < 0.3 else data


def mutate_tree(rng: np.random.Generator, tree: object) -> object:
    """A copy of nested dicts and lists in which one place has another value, or is gone or doubled."""
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        key = list(tree)[rng.integers(len(tree))]
        if rng.random() < 0.08:
            return {name: value for name, value in tree.items() if name != key}
        return tree | {key: mutate_tree(rng, tree[key])}
    if isinstance(tree, list) and tree and rng.random() < 0.85:
        place = int(rng.integers(len(tree)))
        if rng.random() < 0.15:
            return tree[:place] + tree[place + int(rng.integers(2)) :] + tree[place : place + 1]
        return tree[:place] + [mutate_tree(rng, tree[place])] + tree[place + 1 :]
    return NASTY_VALUES[rng.integers(len(NASTY_VALUES))]
