"""Heat maps over frames, such as those of Grad-CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from torch import Tensor

from .keyframes import BoxLabels, Image, contact_sheet, draw_people
from .training import image_of

__all__ = ["draw_heat_maps"]


def draw_heat_maps(
    clips: Tensor,
    maps: Mapping[str, Tensor],
    boxes: Sequence[Tensor] | None = None,
    titles: Sequence[str] | None = None,
    frame: int | None = None,
    cell_width: int = 240,
) -> Image:
    """An image with a row for each clip: a frame of it, then the same frame under each method's map.

    A map is drawn relative to its own largest value in the clip, blue (0) to red.

    Args:
        clips: uint8 (B, 3, T, H, W), RGB.
        maps: (B, T, H, W) by name of the method.
        boxes: B tensors (N, 4) or (T, N, 4) in pixels, drawn on every cell.
        titles: of the clips, above their frames.
        frame: which one; default: the middle.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    batch, _, length, height, width = clips.shape
    number = length // 2 if frame is None else frame
    images, names = [], []
    for b in range(batch):
        plain = image_of(clips[b, :, number])
        shown = [] if boxes is None else _outlines(boxes[b], number, height, width)
        images.append(_enlarge(plain, cell_width, shown))
        names.append(titles[b] if titles else f"clip {b}")
        for method, values in maps.items():
            heat = (values[b, number] / values[b].max().clamp(min=1e-12)).cpu().float().numpy()
            coloured = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_JET)
            mixed = plain // 2 + cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB).astype(np.uint8) // 2
            images.append(_enlarge(mixed, cell_width, shown))
            names.append(method)
    return contact_sheet(images, names, columns=1 + len(maps), cell_width=cell_width)


def _outlines(boxes: Tensor, frame: int, height: int, width: int) -> list[BoxLabels]:
    of_frame = (boxes if boxes.dim() == 2 else boxes[frame]).cpu().tolist()
    return [
        BoxLabels((x1 / width, y1 / height, x2 / width, y2 / height), (), truth=True)
        for x1, y1, x2, y2 in of_frame
    ]


def _enlarge(plain: Image, width: int, people: list[BoxLabels]) -> Image:
    scale = width / plain.shape[1]
    return draw_people(cv2.resize(plain, None, fx=scale, fy=scale).astype(np.uint8), people)
