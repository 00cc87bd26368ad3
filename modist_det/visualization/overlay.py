"""Draw people on video frames: box, track number and best actions with bars, in one color per person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .labels import draw_label, fit_text, label_size, row_height, write
from .placement import Label, Place, Placer

__all__ = ["PersonOverlay", "draw_classes", "draw_overlay", "drawing_size", "person_color"]

Image = NDArray[np.uint8]

_CROWD = 10  # with more people, only the best action of each is drawn
_ORANGE, _WHITE = (255, 170, 40), (255, 255, 255)
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


def draw_overlay(
    image: Image, people: Sequence[PersonOverlay], note: str = "", placer: Placer | None = None
) -> Image:
    """A copy of ``image`` (H, W, 3), uint8 RGB, with people drawn on it.

    Labels cover neither each other nor the upper parts of boxes. Where there is little room, a label has only its best
    action, only the track's number, or is left out, that of the smallest person first.

    Args:
        note: text at the lower left, such as the time.
        placer: keeps the labels of successive frames of a video at their positions.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    scale = min(max(min(height, width) / 1100, 0.36), 0.8)
    thickness = max(round(min(height, width) / 300), 1)
    corners = [_pixels(person.box, height, width) for person in people]
    for person, (x1, y1, x2, y2) in zip(people, corners, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), person_color(person.track_id), thickness)
    versions, labels = [], []
    for person, box in zip(people, corners, strict=True):
        versions.append(_versions(person, box[3] - box[1], scale, 1 if len(people) > _CROWD else None, width))
        labels.append(Label(person.track_id, box, [label_size(rows, scale) for rows in versions[-1]]))
    noted = [(0, height - row_height(scale), label_size([note], scale)[0], height)] if note else []
    places = (placer or Placer())(labels, height, width, noted)
    for person, rows, place in zip(people, versions, places, strict=True):
        if place is not None:
            shares = [score for _, score in person.actions[: place.size]]
            draw_label(canvas, place, rows[place.size], scale, person_color(person.track_id), shares)
    if note:
        write(canvas, note, 4, height - 6, scale, _WHITE)
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
        rows = [fit_text(f"{name}  {score:.2f}", scale, width - 12) for name, score in classes]
        panel_width, panel_height = label_size(rows, scale)
        place = Place(0, (6, 6, 6 + panel_width, 6 + panel_height))
        draw_label(canvas, place, rows, scale, _ORANGE, [score for _, score in classes])
    cv2.rectangle(canvas, (0, height - 4), (round(min(progress, 1.0) * width), height - 1), _ORANGE, -1)
    return canvas


def _pixels(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height)


def _versions(
    person: PersonOverlay, box_height: int, scale: float, most: int | None, width: int
) -> list[list[str]]:
    """Rows of the label from its smallest version: the track's number, then with one more action each.

    It is not taller than the box, but has at least one row: small people have only their best action.
    """
    limit = min(max(box_height // row_height(scale), 1), most or len(person.actions))
    rows = [f"{name}  {score:.2f}" for name, score in person.actions[:limit]]
    rows[:1] = [f"{person.track_id}: {row}" for row in rows[:1]]
    rows = [fit_text(row, scale, width) for row in rows]
    return [[f"{person.track_id}"], *(rows[: count + 1] for count in range(len(rows)))]
