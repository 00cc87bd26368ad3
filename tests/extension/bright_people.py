"""A person detector: people in bright suits on a dark stage."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from modist_det.inference import PersonBoxes
from modist_det.inference.persons import PERSON_DETECTOR_REGISTRY, Frame


@PERSON_DETECTOR_REGISTRY.register()
class BrightPeople:
    """Connected regions of bright pixels.

    The arguments of the constructor are the options of the command lines.

    Args:
        threshold: pixels count whose red, green and blue together are above three times this, from 0 to 255.
        min_pixels: of a region.
        start_score: a person with a lower score may go on with a track, but not begin one.
    """

    min_hits = 1  # frames in which a person has to be found to be reported
    spacing = 0.0  # any frame may be asked about

    def __init__(self, threshold: int = 200, min_pixels: int = 30, start_score: float = 0.5) -> None:
        self.threshold = threshold
        self.min_pixels = min_pixels
        self.start_score = start_score

    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        """The people of each frame: boxes in [0, 1] and scores, here the share of the box that is bright."""
        return [self._detect(frame.image) for frame in frames]

    def _detect(self, image: np.ndarray) -> PersonBoxes:
        height, width, _ = image.shape
        bright = image.astype(np.int32).sum(axis=2) > 3 * self.threshold
        _, _, regions, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=4)
        x, y, w, h, pixels = regions[1:][
            regions[1:, cv2.CC_STAT_AREA] >= self.min_pixels
        ].T  # 0: the background
        boxes = np.stack([x, y, x + w, y + h], axis=1) / [width, height, width, height]
        return PersonBoxes(boxes.astype(np.float32), (pixels / (w * h)).astype(np.float32))
