"""Draw people on video frames: box, track number and best actions with bars, in one color per person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PersonOverlay", "draw_classes", "draw_overlay", "drawing_size", "person_color"]

Image = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CROWD = 10  # with more people, only the best action of each is drawn
_SHORT_SIDES = (480, 720)  # pixels; in smaller images text hides the people, larger ones only take time


@dataclass(frozen=True)
class PersonOverlay:
    """One person on a frame.

    Attributes:
        track_id: from 1; determines the color.
        box: x1, y1, x2, y2 in [0, 1].
        actions: (name, score in [0, 1]), best first.
    """

    track_id: int
    box: Sequence[float]
    actions: Sequence[tuple[str, float]] = ()


def drawing_size(height: float, width: float, short_side: int | None = None) -> tuple[int, int]:
    """(height, width) for drawing on a video: even numbers with its aspect ratio and ``short_side``.

    By default, the short side is that of the video, but at least 480 and at most 720 pixels.
    """
    target = short_side or min(max(min(height, width), _SHORT_SIDES[0]), _SHORT_SIDES[1])
    scale = target / min(height, width)
    # Images with an extreme aspect ratio must not become enormous.
    scale = min(scale, max(4096 / max(height, width), 2 / min(height, width)))
    return max(round(height * scale / 2) * 2, 2), max(round(width * scale / 2) * 2, 2)


def person_color(track_id: int) -> tuple[int, int, int]:
    """RGB color; successive numbers are far apart on the color wheel."""
    hue = int(track_id * 180 * 0.618034) % 180
    red, green, blue = cv2.cvtColor(np.array([[[hue, 190, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def draw_overlay(image: Image, people: Sequence[PersonOverlay], note: str = "") -> Image:
    """A copy of ``image`` (H, W, 3), uint8 RGB, with people drawn on it.

    Args:
        note: text at the lower left, such as the time.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    scale = min(max(min(height, width) / 1100, 0.36), 0.8)
    thickness = max(round(min(height, width) / 300), 1)
    lines = 1 if len(people) > _CROWD else None
    # Text last and from top to bottom, so that boxes do not cross it.
    corners = [_pixels(person.box, height, width) for person in people]
    for person, (x1, y1, x2, y2) in zip(people, corners, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), person_color(person.track_id), thickness)
    for person, (x1, y1, _, y2) in sorted(zip(people, corners, strict=True), key=lambda entry: entry[1][1]):
        _draw_actions(canvas, person, x1, y1, y2 - y1, scale, lines)
    if note:
        _write(canvas, note, 4, height - 6, scale, (255, 255, 255))
    return canvas


def draw_classes(image: Image, classes: Sequence[tuple[str, float]], progress: float) -> Image:
    """A copy of ``image`` (H, W, 3), uint8 RGB, with the classes of the whole frame at the upper left.

    Args:
        classes: (name, score in [0, 1]), best first.
        progress: share of the video up to this frame, drawn as a line along the lower edge.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    scale = min(max(min(height, width) / 900, 0.4), 1.0)
    if classes:
        _draw_panel(
            canvas, [f"{name}  {score:.2f}" for name, score in classes], classes, 6, 6, scale, (255, 170, 40)
        )
    cv2.rectangle(
        canvas, (0, height - 4), (round(min(progress, 1.0) * width), height - 1), (255, 170, 40), -1
    )
    return canvas


def _pixels(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return round(x1 * width), round(y1 * height), round(x2 * width) - 1, round(y2 * height) - 1


def _draw_actions(
    canvas: Image, person: PersonOverlay, x: int, y: int, box_height: int, scale: float, lines: int | None
) -> None:
    """A panel above the upper edge of the box, or below it at the image border: track number and one row per action.

    It is not taller than the box, but has at least one row: small people have only their best action.
    """
    color = person_color(person.track_id)
    row_height = _row_height(scale)
    actions = list(person.actions)[: min(max(box_height // row_height, 1), lines or len(person.actions))]
    rows = [f"{name}  {score:.2f}" for name, score in actions]
    rows[:1] = [f"{person.track_id}: {rows[0]}" if actions else f"{person.track_id}"]
    panel_height = row_height * len(rows)
    top = y - panel_height if y >= panel_height else min(max(y, 0), max(len(canvas) - panel_height, 0))
    _draw_panel(canvas, rows, actions, x, top, scale, color)


def _draw_panel(
    canvas: Image,
    rows: Sequence[str],
    actions: Sequence[tuple[str, float]],
    x: int,
    top: int,
    scale: float,
    color: tuple[int, int, int],
) -> None:
    """Rows of text on dark ground, each with a bar for its action's score."""
    row_height = _row_height(scale)
    panel_width = max(cv2.getTextSize(row, _FONT, scale, 1)[0][0] for row in rows) + 8
    panel_height = row_height * len(rows)
    left = min(max(x, 0), max(canvas.shape[1] - panel_width, 0))
    panel = canvas[top : top + panel_height, left : left + panel_width]
    panel[:] = panel // 4
    for number, row in enumerate(rows):
        bottom = top + (number + 1) * row_height
        if actions:
            bar = round((panel_width - 2) * min(max(actions[number][1], 0.0), 1.0))
            cv2.rectangle(canvas, (left + 1, bottom - 3), (left + 1 + bar, bottom - 2), color, -1)
        _write(canvas, row, left + 4, bottom - row_height // 3, scale, (255, 255, 255))


def _row_height(scale: float) -> int:
    return round(cv2.getTextSize("Ag", _FONT, scale, 1)[0][1] * 1.9)


def _write(canvas: Image, text: str, x: int, y: int, scale: float, color: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, (x + 1, y + 1), _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)
