"""Draw samples and predictions during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..structures.class_facts import class_name
from .keyframes import BoxLabels, Image, bordered, contact_sheet, draw_people

__all__ = ["draw_classified", "draw_predictions", "draw_views", "image_of", "motion_image"]

_WIDTH = 360  # pixels of a keyframe
_MOMENTS = 4  # frames per clip


def draw_predictions(
    samples: Sequence[Mapping[str, Any]],
    scores: Sequence[Tensor],
    class_names: Mapping[int, str],
    top: int = 2,
) -> Image:
    """Keyframes with each person's labels (green) and best scores (orange), three per row.

    Args:
        samples: from :class:`~modist_det.data.mappers.DetectionMapper`; the keyframe is the middle frame.
        scores: (N, K) for the people of each sample.
        class_names: by class id, from 1.
        top: number of scores drawn per person.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    images = []
    for sample, rows in zip(samples, scores, strict=True):
        frame = image_of(sample["video"][:, sample["video"].shape[1] // 2])
        height, width = frame.shape[:2]
        people = []
        for box, labels, row in zip(sample["boxes"], sample["labels"], rows.float().cpu(), strict=True):
            x1, y1, x2, y2 = (box.double() / torch.tensor([width, height, width, height])).tolist()
            truth = tuple(class_name(class_names, c + 1) for c in labels.nonzero().flatten().tolist())
            best = row.topk(min(top, len(row)))
            written = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            lines = tuple(f"{class_name(class_names, c + 1)} {score:.2f}" for c, score in written)
            people += [BoxLabels((x1, y1, x2, y2), truth, truth=True), BoxLabels((x1, y1, x2, y2), lines)]
        enlarged = cv2.resize(frame, None, fx=_WIDTH / width, fy=_WIDTH / width).astype(np.uint8)
        images.append(draw_people(enlarged, people))
    return contact_sheet(images, [sample["id"] for sample in samples], columns=3, cell_width=_WIDTH)


def draw_classified(
    samples: Sequence[Mapping[str, Any]],
    scores: Sequence[Tensor],
    class_names: Mapping[int, str],
    cell_width: int = 160,
) -> Image:
    """One row per video: four frames of its middle view, with its id, labels and two best scores.

    The border is green if the best class is among the labels, otherwise red.

    Args:
        samples: from :class:`~modist_det.data.classification.ClassificationMapper` in evaluation.
        scores: (K,) for each sample.
        class_names: by class index, from 1.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    images, titles = [], []
    for sample, row in zip(samples, scores, strict=True):
        view = sample["video"][len(sample["video"]) // 2]
        best = row.float().cpu().topk(min(2, len(row)))
        right = bool(sample["labels"][best.indices[0]])
        images += [bordered(image_of(view[:, t]), right, cell_width) for t in _moments(view.shape[1])]
        labels = [class_name(class_names, c + 1) for c in sample["labels"].nonzero().flatten().tolist()]
        written = [
            f"{class_name(class_names, c + 1)} {score:.2f}"
            for c, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        titles += [sample["video_id"], ", ".join(labels), *written, *[""] * (2 - len(written))]
    return contact_sheet(images, titles, columns=_MOMENTS, cell_width=cell_width)


def draw_views(samples: Sequence[Mapping[str, Any]], cell_width: int = 120) -> Image:
    """One row per clip with four frames and, below it, a row with its motion maps, if there are any.

    Maps with one channel are scaled so that the clip's largest value is white. Two channels are shown as red and green.

    Args:
        samples: from :class:`~modist_det.data.pretraining.PretrainingMapper`.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    images, titles = [], []
    for sample in samples:
        for number, clip in enumerate(sample["video"]):
            images += [image_of(clip[:, t]) for t in _moments(clip.shape[1])]
            titles += [f"{sample['video_id']}  {number + 1}", *[""] * (_MOMENTS - 1)]
            if "motion" in sample:
                maps = sample["motion"][number]
                images += [motion_image(maps[:, t], int(maps.max())) for t in _moments(maps.shape[1])]
                titles += ["motion", *[""] * (_MOMENTS - 1)]
    return contact_sheet(images, titles, columns=_MOMENTS, cell_width=cell_width)


def _moments(length: int) -> list[int]:
    return np.linspace(0, length - 1, _MOMENTS).round().astype(int).tolist()


def motion_image(maps: Tensor, largest: int) -> Image:
    """A motion map, uint8 (C, H, W) with C from 1 to 3, as an image; a single channel is scaled by ``largest``."""
    if len(maps) == 1:
        stretched = (maps.float() * (255 / max(largest, 1))).to(torch.uint8)
        return image_of(stretched.expand(3, -1, -1))
    missing = torch.full_like(maps[:1], 128).expand(3 - len(maps), -1, -1)
    return image_of(torch.cat([maps, missing]))


def image_of(frame: Tensor) -> Image:
    """uint8 (3, H, W) -> (H, W, 3)."""
    return np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
