"""Draw people with boxes and actions on frames, and arrange frames on a sheet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..utils.files import atomic_path
from .labels import FONT, draw_label, fit_text, label_size
from .placement import Label, Placer

__all__ = ["BoxLabels", "bordered", "contact_sheet", "draw_people", "write_png"]

Image = NDArray[np.uint8]

_GREEN, _ORANGE, _WHITE, _RED = (60, 200, 60), (255, 150, 30), (255, 255, 255), (220, 60, 60)
_BORDER = 4  # pixels


@dataclass(frozen=True)
class BoxLabels:
    """One person on a frame.

    Attributes:
        box: x1, y1, x2, y2 in [0, 1].
        lines: lines of text at the box.
        truth: draw in green with text below the box if there is room, instead of in orange with text above it.
    """

    box: tuple[float, float, float, float]
    lines: tuple[str, ...]
    truth: bool = False


def draw_people(image: Image, people: Sequence[BoxLabels]) -> Image:
    """A copy of ``image`` (H, W, 3), uint8 RGB, with the boxes and labels of people.

    Labels are placed as :func:`~modist_det.visualization.overlay.draw_overlay` places them: without room, a label has
    fewer lines, or is left out.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    scale = max(0.35, height / 900)
    size = (width, height, width, height)
    labels, versions = [], []
    for number, person in enumerate(people):
        x1, y1, x2, y2 = (round(v * s) for v, s in zip(person.box, size, strict=True))
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), _color(person), 1 if person.truth else 2)
        lines = [fit_text(line, scale, width) for line in person.lines]
        versions.append([lines[: count + 1] for count in range(len(lines))])
        sizes = [label_size(rows, scale) for rows in versions[-1]]
        labels.append(Label(number, (x1, y1, x2, y2), sizes, below=person.truth))
    for person, rows, place in zip(people, versions, Placer()(labels, height, width), strict=True):
        if place is not None:
            draw_label(canvas, place, rows[place.size], scale, _color(person), ink=_color(person))
    return canvas


def _color(person: BoxLabels) -> tuple[int, int, int]:
    return _GREEN if person.truth else _ORANGE


def bordered(image: Image, right: bool, width: int) -> Image:
    """``image`` scaled to ``width``, with a green border if ``right``, otherwise a red one."""
    scaled = _scaled_to(image, width)
    corner = (width - 1, scaled.shape[0] - 1)
    color = _GREEN if right else _RED
    return cv2.rectangle(scaled, (0, 0), corner, color, 2 * _BORDER - 1).astype(np.uint8)


def _scaled_to(image: Image, width: int) -> Image:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def contact_sheet(
    images: Sequence[Image], titles: Sequence[str], columns: int, cell_width: int = 480
) -> Image:
    """Images of any size on one sheet, each scaled to ``cell_width``, with its title above it."""
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    bar = 22
    cells = []
    for image, title in zip(images, titles, strict=True):
        header = np.zeros((bar, cell_width, 3), np.uint8)
        cv2.putText(header, title, (4, 15), FONT, 0.42, _WHITE, 1, cv2.LINE_AA)
        cells.append(np.concatenate([header, _scaled_to(image, cell_width)]))
    rows = []
    for first in range(0, len(cells), columns):
        row = cells[first : first + columns]
        height = max(cell.shape[0] for cell in row)
        padded = [np.pad(cell, ((0, height - cell.shape[0]), (0, 0), (0, 0))) for cell in row]
        padded += [np.zeros((height, cell_width, 3), np.uint8)] * (columns - len(row))
        rows.append(np.concatenate(padded, axis=1))
    return np.concatenate(rows)


def write_png(path: str | os.PathLike, image: Image) -> None:
    """Write ``image`` (H, W, 3), uint8 RGB, atomically."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert encoded
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
