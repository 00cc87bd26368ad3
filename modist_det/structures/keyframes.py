"""Keyframes (video, annotated second) as text and as sortable integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SECOND", "VideoKeyframes", "keyframe_id", "pack_keyframes", "unpack_keyframes"]

IntArray = NDArray[np.int64]

# The upper bits hold the video's number, the lower 40 bits the second in microseconds (up to 11 days).
MAX_SECOND = 1_000_000
_SECOND_BITS = 40
_TICKS = 1_000_000


def keyframe_id(video_id: str, second: float) -> str:
    """``"video,0902"``: the keyframe name of AVA's tools; fractions of a second are kept (``"video,2.5"``)."""
    return f"{video_id},{second:04.0f}" if float(second).is_integer() else f"{video_id},{second:.10g}"


def pack_keyframes(video: NDArray[np.integer], second: NDArray[np.float64]) -> IntArray:
    """Pack video numbers (n,), from 0, and seconds (n,) in [0, ``MAX_SECOND``] into integers (n,).

    They sort by video, then by second. Seconds are rounded to six decimals, as in AVA's official evaluator.
    """
    return (video.astype(np.int64) << _SECOND_BITS) | np.rint(second * _TICKS).astype(np.int64)


def unpack_keyframes(keys: IntArray) -> tuple[IntArray, NDArray[np.float64]]:
    """Inverse of :func:`pack_keyframes`: video numbers (n,) and seconds (n,) to six decimals."""
    return keys >> _SECOND_BITS, (keys & ((1 << _SECOND_BITS) - 1)) / _TICKS


@dataclass(frozen=True)
class VideoKeyframes:
    """A video and its keyframes.

    Attributes:
        name: id of the video.
        path: video file or frame folder.
        fps: frame rate of a frame folder.
        first_second: annotated second of the first frame.
        seconds: annotated seconds of the keyframes; None: every ``spacing`` seconds of the whole video.
        spacing: seconds between keyframes.
    """

    name: str
    path: str
    fps: float
    first_second: float = 0.0
    seconds: tuple[float, ...] | None = None
    spacing: float = 1.0
