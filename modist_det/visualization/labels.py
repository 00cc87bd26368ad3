"""Draw text labels: rows on dark ground, with bars for scores, and the lines that lead to their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .placement import Place

__all__ = ["draw_label", "fit_text", "label_size", "row_height", "write"]

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN = 4  # pixels to the left and right of text


def row_height(scale: float) -> int:
    """Pixels of a row of text."""
    return round(cv2.getTextSize("Ag", FONT, scale, 1)[0][1] * 1.9)


def label_size(rows: Sequence[str], scale: float) -> tuple[int, int]:
    """(width, height) of a label in pixels."""
    width = max(cv2.getTextSize(row, FONT, scale, 1)[0][0] for row in rows)
    return width + 2 * _MARGIN, row_height(scale) * len(rows)


def fit_text(text: str, scale: float, width: int) -> str:
    """``text``, shortened in the middle until a label of it is at most ``width`` pixels wide."""
    kept = len(text)
    shown = text
    while kept > 2 and label_size([shown], scale)[0] > width:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}..{text[len(text) - kept // 2 :]}"
    return shown


def draw_label(
    canvas: Image,
    place: Place,
    rows: Sequence[str],
    scale: float,
    color: Color,
    shares: Sequence[float] = (),
    ink: Color = (255, 255, 255),
) -> None:
    """Draw a label where it was placed.

    Args:
        rows: text of the version that was placed.
        shares: lengths of the bars under the first rows, in [0, 1].
        ink: color of the text; ``color`` is that of the bars and the line.
    """
    if place.leader is not None:
        cv2.line(canvas, *place.leader, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.line(canvas, *place.leader, color, 1, cv2.LINE_AA)
    x1, y1, x2, y2 = place.box
    panel = canvas[y1:y2, x1:x2]
    panel[:] = panel // 4
    height = row_height(scale)
    for number, row in enumerate(rows):
        bottom = y1 + (number + 1) * height
        if number < len(shares):
            bar = round((x2 - x1 - 2) * min(max(shares[number], 0.0), 1.0))
            cv2.rectangle(canvas, (x1 + 1, bottom - 3), (x1 + 1 + bar, bottom - 2), color, -1)
        write(canvas, row, x1 + _MARGIN, bottom - height // 3, scale, ink)


def write(canvas: Image, text: str, x: int, y: int, scale: float, color: Color) -> None:
    """Text with a dark outline, its baseline from (x, y)."""
    cv2.putText(canvas, text, (x + 1, y + 1), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), FONT, scale, color, 1, cv2.LINE_AA)
