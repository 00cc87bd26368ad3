"""A flow estimator: block matching, the oldest there is."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modist_det.motion.estimators import FLOW_REGISTRY
from modist_det.utils.errors import UserError


@FLOW_REGISTRY.register()
class BlockMatching:
    """For each block the shift by which it is most like the other frame; of equally good ones the shortest.

    Args:
        block: side of the blocks (pixels).
        radius: largest shift looked at, in x and in y (pixels).
    """

    def __init__(self, block: int = 8, radius: int = 4) -> None:
        if block < 1 or radius < 0:
            raise UserError(f"BlockMatching: block is {block} and radius {radius}, but take 1 and 0 or more")
        self.block = block
        self.radius = radius
        steps = range(-radius, radius + 1)
        self.shifts = sorted(((x, y) for y in steps for x in steps), key=lambda s: s[0] ** 2 + s[1] ** 2)

    def __repr__(self) -> str:
        """Everything that results depend on: files of maps remember it."""
        return f"BlockMatching(block={self.block}, radius={self.radius})"

    def __call__(self, frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> Tensor:
        """uint8 (N, H, W, 3) twice -> float32 (N, 2, H, W): how far each pixel has moved, x first."""
        flows = [self._flow(frame, other) for frame, other in zip(frames, others, strict=True)]
        return torch.from_numpy(np.stack(flows))

    def _flow(self, frame: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width, _ = frame.shape
        r = self.radius
        framed = np.pad(other.astype(np.int16), ((r, r), (r, r), (0, 0)), mode="edge")
        costs = []
        for x, y in self.shifts:
            moved = framed[r + y : r + y + height, r + x : r + x + width]
            difference = np.abs(frame - moved).sum(axis=2).astype(np.float32)
            columns, rows = -(-width // self.block), -(-height // self.block)
            costs.append(cv2.resize(difference, (columns, rows), interpolation=cv2.INTER_AREA))
        best = np.array(self.shifts, np.float32)[np.argmin(costs, axis=0)]
        return cv2.resize(best, (width, height), interpolation=cv2.INTER_NEAREST).transpose(2, 0, 1).copy()
