"""A buffer of the latest frames of a stream, from which clips are taken."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..video.frame_times import nearest
from ..video.info import FrameScaler, output_size
from .stream import StreamFrame

__all__ = ["ClipBuffer"]


class ClipBuffer:
    """Keeps scaled frames until no clip needs them any more.

    Args:
        offsets: float64 (T,), ascending: times of a clip's frames relative to its keyframe, in seconds.
        short_side: frames are scaled to this short side (pixels).
    """

    def __init__(self, offsets: NDArray[np.float64], short_side: int) -> None:
        self.offsets = offsets
        self.short_side = short_side
        self._scaler = FrameScaler()
        self._frames: deque[tuple[float, NDArray[np.uint8]]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: StreamFrame) -> None:
        """Add the next frame of the stream."""
        size = output_size(*frame.size, None, self.short_side)
        self._frames.append((frame.second, frame.rgb(self._scaler, size)))

    def is_complete(self, second: float) -> bool:
        """Whether all frames of the clip around the keyframe at ``second`` have arrived."""
        return self._frames[-1][0] >= second + self.offsets[-1]

    def clip(self, second: float) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3): the clip around ``second``, made of the frames nearest in time.

        These are the frames that ``frames_at_times`` of a video reader returns.
        """
        seconds = np.array([second for second, _ in self._frames])
        chosen = nearest(seconds, second + self.offsets, 1e-6)
        return np.stack([self._frames[index][1] for index in chosen.tolist()])

    def forget(self, before: float) -> None:
        """Drop frames that are not needed by clips around ``before`` or later."""
        while len(self._frames) > 1 and self._frames[1][0] <= before + self.offsets[0]:
            self._frames.popleft()
