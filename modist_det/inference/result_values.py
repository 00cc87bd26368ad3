"""Numbers of the JSON files of results: rounded when they are written, checked when they are read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_frame_size", "class_names_of", "finite", "rounded", "rounded_number", "score_table"]


def rounded_number(value: float) -> float:
    """Six significant digits; times above 1000 s: milliseconds."""
    return float(f"{value:.6g}") if abs(value) < 1000 else round(float(value), 3)


def rounded(values: Any) -> list:
    """Nested lists of numbers, each as of :func:`rounded_number`."""
    if np.ndim(values) > 1:
        return [rounded(row) for row in values]
    return [rounded_number(value) for value in np.asarray(values).tolist()]


def finite(name: str, value: Any) -> float:
    """``value`` as a float.

    Raises:
        ValueError: it is not finite; the message has its ``name``.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return float(value)


def score_table(values: list, width: int | None = None) -> NDArray[np.float32]:
    """float32 (N,), or (N, ``width``).

    Raises:
        ValueError: a score is outside [0, 1], or rows differ in length.
    """
    scores = np.array(values, np.float32)
    scores = scores if width is None else scores.reshape(len(values), width)
    if not ((scores >= -1e-6) & (scores <= 1 + 1e-6)).all():
        raise ValueError("a score is not a number from 0 to 1")
    return scores


def class_names_of(entries: list[dict[str, Any]], first: int) -> dict[int, str]:
    """Names by id, in order of ``entries``.

    Args:
        first: the lowest possible id.

    Raises:
        ValueError: an id is there twice, or below ``first``.
    """
    names = {int(entry["id"]): str(entry["name"]) for entry in entries}
    if len(names) != len(entries) or min(names, default=first) < first:
        raise ValueError(f"a class id is there twice, or below {first}")
    return names


def check_frame_size(content: dict[str, Any]) -> None:
    """Raise ``ValueError`` if ``width`` or ``height`` is below 1."""
    if min(content["width"], content["height"]) < 1:
        raise ValueError(f"its frames are {content['width']}x{content['height']}")
