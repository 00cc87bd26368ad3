"""Boxes as numpy arrays (..., 4) of x1, y1, x2, y2: area, overlap, and the rule for boxes without area.

A box has an area if x1 < x2 and y1 < y2. A box without area, or an inverted one, has area 0 and overlaps nothing.
All functions keep the dtype (float32 or float64) and take boxes in any unit: pixels or fractions of the image.

``extra`` is added to each width and height: 1 for metrics in which a box of pixels includes its last row and column.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["area", "clip_boxes", "has_area", "intersection", "iou", "iou_matrix", "scale_boxes"]

Floats = NDArray[np.floating]
_Float = TypeVar("_Float", bound=np.floating)


def has_area(boxes: Floats) -> NDArray[np.bool_]:
    """Mask (...) of the boxes (..., 4) that have an area."""
    return (boxes[..., 0] < boxes[..., 2]) & (boxes[..., 1] < boxes[..., 3])


def area(boxes: Floats, extra: float = 0) -> Floats:
    """Area (...) of boxes (..., 4)."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return np.maximum(width + extra, 0) * np.maximum(height + extra, 0)


def intersection(a: Floats, b: Floats, extra: float = 0) -> Floats:
    """Area (...) of the intersections of boxes (..., 4) with boxes (..., 4); shapes are broadcast."""
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.maximum(width + extra, 0) * np.maximum(height + extra, 0)


def iou(a: Floats, b: Floats, extra: float = 0) -> Floats:
    """Intersection over union (...) of boxes (..., 4) with boxes (..., 4), in [0, 1]; shapes are broadcast.

    The order of operations is that of AVA's official evaluator, so that an IoU of exactly one half falls on the same
    side.
    """
    shared = intersection(a, b, extra)
    union = area(a, extra) + area(b, extra) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def iou_matrix(a: Floats, b: Floats, extra: float = 0) -> Floats:
    """IoU (A, B) of each of the boxes (A, 4) with each of the boxes (B, 4)."""
    return iou(a[:, None], b[None], extra)


def scale_boxes(boxes: NDArray[_Float], height: float, width: float) -> NDArray[_Float]:
    """Multiply boxes by (width, height): from fractions of the image to pixels, or by resize factors."""
    return (boxes * np.array([width, height] * 2, boxes.dtype)).astype(boxes.dtype, copy=False)


def clip_boxes(boxes: NDArray[_Float], height: float = 1, width: float = 1) -> NDArray[_Float]:
    """Clip boxes to an image of (height, width); boxes outside it are left without area."""
    return np.clip(boxes, 0, np.array([width, height] * 2, dtype=boxes.dtype))
