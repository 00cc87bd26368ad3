"""Write a short animated GIF or WebP, which plays wherever images are shown."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..utils.files import atomic_path

__all__ = ["ANIMATIONS", "AnimationWriter"]

logger = logging.getLogger(__name__)

# Ending of the name -> Pillow's options.
ANIMATIONS: dict[str, dict[str, Any]] = {
    ".gif": {"format": "GIF", "disposal": 1},
    ".webp": {"format": "WEBP", "quality": 75, "method": 4},
}


class AnimationWriter:
    """Writes frames as an animation that repeats without end; like :class:`.VideoWriter`, but without sound.

    The complete file appears when the ``with`` block ends without an error. Until then, the frames are in memory.

    Args:
        path: the file; its ending is one of ``ANIMATIONS``.
        rate: largest number of frames per second; the other frames are left out.
        long_side: largest width and height in pixels.
        seconds: limit of the duration; what comes later is left out, with a warning.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], rate: float = 10.0, long_side: int = 480, seconds: float = 20.0
    ) -> None:
        self.path = Path(path)
        self._rate, self._long_side, self._limit = rate, long_side, seconds
        self._images: list[Image.Image] = []
        self._moments: list[int] = []  # of the images, in 1 / rate seconds
        self._is_cut = False

    def __enter__(self) -> AnimationWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None or not self._images:
            return
        if self._is_cut:
            logger.warning("%s has only the first %g s of the video", self.path, self._limit)
        # The last image stands as long as one does at this rate.
        stands = np.diff([*self._moments, self._moments[-1] + 1]) * 1000 / self._rate
        first, *others = self._images
        options = ANIMATIONS[self.path.suffix.lower()]
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            first.save(
                file,
                save_all=True,
                append_images=others,
                duration=stands.round().astype(int).tolist(),
                loop=0,
                **options,
            )

    def write(self, image: NDArray[np.uint8], second: float) -> None:
        """Add a frame uint8 (H, W, 3), RGB, shown at ``second``, which is later than the one before."""
        moment = int(second * self._rate + 1e-6)
        if self._moments and moment <= self._moments[-1]:
            return
        if moment >= self._limit * self._rate:
            self._is_cut = True
            return
        height, width = image.shape[:2]
        scale = min(1.0, self._long_side / max(height, width))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._images.append(Image.fromarray(scaled))
        self._moments.append(moment)
