"""Choose the frames and the crop of a clip: arithmetic only, no decoding.

``total``, ``span`` and ``start`` may be in frames or in seconds, but in the same unit. PySlowFast is quoted where
its tests depend on the exact rule.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "clip_around",
    "clip_indices",
    "clip_span",
    "draw_clips",
    "middles_around",
    "random_clip_start",
    "segment_indices",
    "spatial_crop_offset",
    "uniform_view_start",
]


def clip_around(num_frames: int, stride: int) -> NDArray[np.int64]:
    """Offsets (num_frames,) of a clip's frames from its keyframe: ``-(S // 2) + i * stride``, S = num_frames * stride.

    These are ``range(-(S // 2), S // 2, stride)`` of PySlowFast's ``get_sequence``, which however gives a
    frame too few where ``stride`` is 1 and ``num_frames`` odd (none at all for a single frame).

    >>> clip_around(4, 2)
    array([-4, -2,  0,  2])
    """
    return np.arange(num_frames, dtype=np.int64) * stride - num_frames * stride // 2


def middles_around(num_frames: int, stride: int) -> NDArray[np.int64]:
    """As :func:`clip_around`, but each frame is the middle of its ``stride`` frames, rounded down (VideoMAE, UMT).

    >>> middles_around(4, 2), middles_around(4, 3)
    (array([-4, -2,  0,  2]), array([-5, -2,  1,  4]))
    """
    return clip_around(num_frames, stride) + (stride - 1) // 2


def clip_span(num_frames: int, stride: float, source_fps: float, target_fps: float) -> float:
    """Frames of the source that a clip covers: ``num_frames * stride * source_fps / target_fps``.

    ``stride`` counts frames at ``target_fps``; divided by ``source_fps`` the result is in seconds.
    """
    return num_frames * stride * source_fps / target_fps


def random_clip_start(total: float, span: float, rng: np.random.Generator) -> float:
    """A start drawn uniformly from ``[0, total - span)``; 0 where the video is shorter than the clip."""
    return float(rng.uniform(0.0, max(total - span, 0.0)))


def uniform_view_start(
    total: float, span: float, view: int, num_views: int, use_offset: bool = False
) -> float:
    """Start of one of ``num_views`` clips spread over a video for testing.

    With ``delta = max(total - span, 0)`` (PySlowFast's ``get_start_end_idx``):

    - by default ``delta * view / num_views``: the last view ends before the video does;
    - with ``use_offset`` ``view * floor(delta / (num_views - 1))``: the last view ends with the video, and a
      single view lies in its middle, ``delta / 2``. Whole numbers, so ``total`` and ``span`` count frames.
    """
    if not 0 <= view < num_views:
        raise ValueError(f"view {view} of {num_views} does not exist")
    delta = max(total - span, 0.0)
    if not use_offset:
        return delta * view / num_views
    if num_views == 1:
        return float(math.floor(delta / 2))
    return float(view * math.floor(delta / (num_views - 1)))


def clip_indices(start: float, num_frames: int, stride: float, total: int) -> NDArray[np.int64]:
    """Frame numbers (num_frames,): ``floor(start + i * stride)``, clamped to ``[0, total - 1]``.

    A clip that is longer than the video repeats the last frame.
    """
    frames = np.floor(start + np.arange(num_frames) * stride).astype(np.int64)
    return np.clip(frames, 0, total - 1)


def segment_indices(
    total: int, num_segments: int, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """One frame number from each of ``num_segments`` equal parts of a video (num_segments,).

    Part ``i`` reaches from ``round(d * i)`` to ``round(d * (i + 1))``, both included, with
    ``d = (total - 1) / num_segments``. With ``rng`` (training) the frame is drawn from the part, without it
    (test) it is its middle, rounded down (PySlowFast's ``Ssv2.get_seq_frames``).
    """
    bounds = np.round(np.arange(num_segments + 1) * (float(total - 1) / num_segments)).astype(np.int64)
    if rng is None:
        return (bounds[:-1] + bounds[1:]) // 2
    return rng.integers(bounds[:-1], bounds[1:], endpoint=True)


def spatial_crop_offset(height: int, width: int, size: int, position: int) -> tuple[int, int]:
    """(top, left) of one of three square crops along the longer side (PySlowFast's ``uniform_crop``).

    ``position`` 0 is the left or upper end, 1 the centre, 2 the right or lower end. The centre is
    ``ceil((length - size) / 2)``, in both directions. A square frame counts as wide.
    """
    if position not in (0, 1, 2):
        raise ValueError(f"crop position is {position}; it is 0, 1 or 2")
    if size > min(height, width):
        raise ValueError(f"a crop of {size} pixels does not fit into {height} x {width} (height x width)")
    centre = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if height > width:
        return (0, centre[0], height - size)[position], centre[1]
    return centre[0], (0, centre[1], width - size)[position]


def draw_clips(
    duration: float, span: float, shift: tuple[float, float], number: int, rng: np.random.Generator
) -> tuple[float, ...]:
    """Start times (seconds) of ``number`` clips of one video, in the order of time or against it (equal chances).

    Each begins ``shift[0]`` to ``shift[1]`` seconds after the one before, uniformly (arXiv 2106.09703: two clips, 0.5
    to 10), as far as the video reaches. In a video too short for the smallest shift the clips lie as far
    apart as they can: spread from its beginning to its end, or all at its beginning.

    Args:
        duration: of the video.
        span: from the first to past the last frame of a clip.
    """
    room = max(duration - span, 0.0)
    share = room / max(number - 1, 1)
    apart = [
        share if share <= shift[0] else rng.uniform(shift[0], min(shift[1], share)) for _ in range(number - 1)
    ]
    first = rng.uniform(0.0, max(room - sum(apart), 0.0))
    starts = tuple(first + sum(apart[:i]) for i in range(number))
    return starts if rng.random() < 0.5 else starts[::-1]
