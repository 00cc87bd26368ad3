"""Detected people as tracks of annotation tools: pre-annotations that are corrected instead of drawn."""

from __future__ import annotations

import numpy as np

from ..formats.annotations import AnnotatedTrack, TrackAnnotations
from ..structures.tubes import VideoSize
from ..utils.errors import UserError
from .results import VideoActions

__all__ = ["tracks_of_result"]


def tracks_of_result(result: VideoActions, min_score: float = 0.0) -> TrackAnnotations:
    """The people of a result with a box in each frame; their actions are attributes that are "true" or "false".

    Boxes between detections are interpolated. An action of a person is from the frame nearest to its start to that
    nearest to its end.

    Args:
        min_score: actions with a lower score are left out; the people stay.

    Raises:
        UserError: the result is of a video without frames or duration.
    """
    header = result.header
    if result.num_frames < 1 or result.duration <= 0:
        raise UserError(f"the result of video {header.video} has no frames")
    size = VideoSize(header.width, header.height, result.num_frames, result.num_frames / result.duration)
    scale = np.array([size.width, size.height] * 2, np.float64)
    tracks = []
    for number in sorted({tube.track_id for tube in result.tubes}):
        parts = [tube for tube in result.tubes if tube.track_id == number]  # of very long tubes
        times = np.concatenate([tube.times for tube in parts])
        order = np.argsort(times, kind="stable")
        corners = np.concatenate([tube.boxes for tube in parts])[order] * scale
        first, last = _frames(np.array([times.min(), times.max()]), size)
        frames = np.arange(first, last + 1)
        seen = times[order] * size.fps
        names: dict[str, list[bool]] = {}
        for segment in (segment for tube in parts for segment in tube.actions if segment.score >= min_score):
            start, end = _frames(np.array([segment.start, segment.end]), size)
            here = (frames >= start) & (frames <= end)
            name = header.class_names[segment.action]
            names[name] = (here | names.get(name, False)).tolist()
        tracks.append(
            AnnotatedTrack(
                header.video,
                number,
                "person",
                frames,
                np.column_stack([np.interp(frames, seen, column) for column in corners.T]),
                np.isin(frames, np.rint(seen)),
                {name: tuple(str(is_on).lower() for is_on in here) for name, here in names.items()},
            )
        )
    return TrackAnnotations({header.video: size}, tracks)


def _frames(times: np.ndarray, size: VideoSize) -> list[int]:
    return np.rint(times * size.fps).astype(np.int64).clip(0, size.num_frames - 1).tolist()
