"""How stored frames are shown: rotation and mirroring (the display matrix), and the shape of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["Orientation", "pixel_aspect"]


@dataclass(frozen=True)
class Orientation:
    """A rotation by right angles and a mirroring: rows and columns are swapped, then their orders reversed."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Orientation:
        """From the display matrix attached to a decoded frame (none: as stored).

        The matrix holds nine native 32-bit integers, row by row: a stored point (x, y), y downwards, is
        shown at (a x + c y, b x + d y) with a, b, c, d its entries 0, 1, 3, 4 (FFmpeg,
        ``libavutil/display.h``). Angles between right angles go to the nearest one.
        """
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d = np.frombuffer(memoryview(data), dtype=np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, flip_rows=d < 0, flip_columns=a < 0)
        return cls(True, flip_rows=b < 0, flip_columns=c < 0)

    @property
    def rotation(self) -> int:
        """Degrees clockwise, 0, 90, 180 or 270, by which the stored rows' direction is turned."""
        along = -1 if (self.flip_rows if self.transpose else self.flip_columns) else 1
        x, y = (0, along) if self.transpose else (along, 0)
        return round(math.degrees(math.atan2(y, x))) % 360

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The displayed (height, width) of a stored frame, and vice versa."""
        return (width, height) if self.transpose else (height, width)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of a stored frame (H, W, 3), rotated for display."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        return image[rows, columns]


def pixel_aspect(stream: av.VideoStream, orientation: Orientation) -> Fraction:
    """Width of a displayed pixel divided by its height; 1 if the file has no valid value."""
    stored = Fraction(stream.sample_aspect_ratio or 1)
    if not Fraction(1, 8) <= stored <= 8:
        return Fraction(1)
    return 1 / stored if orientation.transpose else stored
