"""The rules by which the field's evaluators score frame detections and tubes, as one table each.

``act``
    ACT-detector (Kalogeiton et al., 2017), whose code most papers on UCF101-24 and JHMDB use.
``multisports``
    MultiSports' evaluation, as mmaction2 has it.
``yowo``
    YOWO's: frame AP by a Pascal VOC tool, video AP by its own code.
``recommended``
    No quirk of an implementation: IoU without an extra pixel, so that it does not depend on the unit of boxes; a
    detection is matched with the best of the boxes that are not yet taken, as in COCO, since in a crowd the best box
    of all is often a neighbour's; area under the monotone precision-recall curve in double precision; classes
    without ground truth have no AP and are left out of the mean; the overlap of tubes is the sum of IoUs over shared
    frames divided by the number of frames in either, which is defined for tubes with holes and of one frame; no
    suppression before the metric, since that is a part of the detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError, nearest

__all__ = [
    "FRAME_RULES",
    "MULTISPORTS_SKIPPED",
    "PROTOCOLS",
    "TUBE_RULES",
    "Rules",
    "check_protocol",
    "eleven_point",
]

Hits = NDArray[np.bool_]

# MultiSports does not evaluate these.
MULTISPORTS_SKIPPED = frozenset(
    {
        "aerobic kick jump",
        "aerobic off axis jump",
        "aerobic butterfly jump",
        "aerobic balance turn",
        "basketball save",
        "basketball jump ball",
    }
)


def _trapezoid(hits: Hits, count: int) -> float:
    """Area under the line through the points (recall, precision), from (0, 1) on, in single precision."""
    found = np.cumsum(hits)
    precision = np.concatenate([[1], found / np.arange(1, len(hits) + 1)]).astype(np.float32)
    recall = np.concatenate([[0], found / count]).astype(np.float32)
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) * np.float32(0.5)))


def _envelope(hits: Hits, count: int) -> float:
    """Area under the monotone precision-recall curve."""
    ranks = np.flatnonzero(hits) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(np.maximum.accumulate(precision[::-1]).sum() / count)


def _yowo_envelope(hits: Hits, count: int) -> float:
    """The same in single precision, with a small number in the recall; 0 for a class without ground truth."""
    found = np.cumsum(hits)
    precision = (found / np.arange(1, len(hits) + 1)).astype(np.float32)
    recall = (found / (count + 0.00001)).astype(np.float32).astype(np.float64)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def eleven_point(hits: Hits, count: int) -> float:
    """Mean of the highest precisions at recalls of at least 0, 0.1, ..., 1."""
    found = np.cumsum(hits)
    envelope = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    first = np.searchsorted(found / count, np.linspace(0, 1, 11))
    return float(np.append(envelope, 0.0)[first].sum() / 11)


@dataclass(frozen=True)
class Rules:
    """How one protocol scores boxes or tubes.

    Attributes:
        extra: pixels added to widths and heights of boxes.
        retry: a detection is matched with the best ground truth that is left; otherwise with the best of all, and it
            is a false positive if that is taken.
        average_precision: from hits by descending score and the number of ground-truth boxes.
        every_class: classes without ground truth have an AP of 0 instead of none.
        skipped: classes that are not evaluated.
        tube_nms: detected tubes that overlap a better one of their class by more are dropped before matching.
        length_extra: frames added to the length of times in the overlap of tubes; None: frames are counted.
        min_shared: tubes that share fewer frames have no overlap.
        best_class: of boxes with a score for each class, only the class with the highest one is a detection.
    """

    extra: float
    retry: bool
    average_precision: Callable[[Hits, int], float]
    every_class: bool = False
    skipped: frozenset[str] = frozenset()
    tube_nms: float | None = None
    length_extra: int | None = None
    min_shared: int = 1
    best_class: bool = False

    @property
    def monotone(self) -> bool:
        """Whether AP is the area under the monotone precision-recall curve."""
        return self.average_precision is not _trapezoid


FRAME_RULES = {
    "recommended": Rules(0, True, _envelope),
    "act": Rules(1, True, _trapezoid),
    "multisports": Rules(0, False, _envelope, skipped=MULTISPORTS_SKIPPED, best_class=True),
    "yowo": Rules(1, False, _envelope, best_class=True),
}
TUBE_RULES = {
    "recommended": Rules(0, True, _envelope),
    "act": Rules(1, True, _trapezoid, tube_nms=0.3, length_extra=1),
    "multisports": Rules(0, False, _envelope, skipped=MULTISPORTS_SKIPPED, length_extra=0, best_class=True),
    "yowo": Rules(1, True, _yowo_envelope, every_class=True, tube_nms=0.3, length_extra=1, min_shared=2),
}
PROTOCOLS = tuple(FRAME_RULES)


def check_protocol(protocol: str) -> None:
    """Raise a UserError unless there is such a protocol."""
    if protocol not in PROTOCOLS:
        raise UserError(
            f"unknown protocol {protocol!r}{nearest(protocol, PROTOCOLS)} (protocols are {', '.join(PROTOCOLS)})"
        )
