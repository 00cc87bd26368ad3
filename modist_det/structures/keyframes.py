"""Keyframes: a video and a second of it, as annotated; as text, and as one number that sorts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SECOND", "VideoKeyframes", "keyframe_id", "pack_keyframes", "unpack_keyframes"]

IntArray = NDArray[np.int64]

# A keyframe as one number: the video's, then the second in microseconds. 40 bits hold 11 days of them.
MAX_SECOND = 1_000_000
_SECOND_BITS = 40
_TICKS = 1_000_000


def keyframe_id(video_id: str, second: float) -> str:
    """``"video,0902"``: how AVA's tools name a keyframe; fractions of a second are kept (``"video,2.5"``)."""
    return f"{video_id},{second:04.0f}" if float(second).is_integer() else f"{video_id},{second:.10g}"


def pack_keyframes(video: NDArray[np.integer], second: NDArray[np.float64]) -> IntArray:
    """One number (n,) for each video's number (n,), from 0, and second (n,) in [0, ``MAX_SECOND``].

    Numbers sort by video, then by second. Seconds that are equal to six decimals are one, as in AVA's official
    evaluator.
    """
    return (video.astype(np.int64) << _SECOND_BITS) | np.rint(second * _TICKS).astype(np.int64)


def unpack_keyframes(keys: IntArray) -> tuple[IntArray, NDArray[np.float64]]:
    """The videos' numbers (n,) and the seconds (n,), to six decimals, of what :func:`pack_keyframes` made."""
    return keys >> _SECOND_BITS, (keys & ((1 << _SECOND_BITS) - 1)) / _TICKS


@dataclass(frozen=True)
class VideoKeyframes:
    """A video and its keyframes.

    Attributes:
        name: id.
        path: file or folder of frames.
        fps: of a folder of frames.
        first_second: what the annotation calls the first frame.
        seconds: as annotated; None: every ``spacing`` seconds of the whole video.
        spacing: seconds.
    """

    name: str
    path: str
    fps: float
    first_second: float = 0.0
    seconds: tuple[float, ...] | None = None
    spacing: float = 1.0
