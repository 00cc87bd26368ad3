"""Classify a video and write its files: mp4 with the classes on its frames, JSON, csv, timeline."""

from __future__ import annotations

import os

from ..structures.actions import top_actions
from ..utils.errors import UserError
from ..utils.progress import progress_bar
from ..utils.spread import middles
from ..video.reader import open_video
from ..video.scaling import FrameScaler
from ..visualization.overlay import draw_classes
from ..visualization.timeline import draw_timeline
from .class_results import VideoClasses
from .draw_scores import DRAW_SCORE
from .run import Outputs, video_writer
from .stream import open_source

__all__ = ["write_class_outputs", "write_class_video", "write_timeline"]

_FRAMES = 10  # of a timeline
_FRAME_SIDE = 160  # pixels


def write_class_outputs(
    result: VideoClasses, video: str | os.PathLike, outputs: Outputs, *, fps: float = 25.0
) -> None:
    """Write the requested files; ``sheet`` is the timeline.

    Raises:
        UserError: ``coco`` is requested, which needs boxes, or a file cannot be written.
    """
    if outputs.coco is not None:
        raise UserError("a classifier finds no boxes, so there is no COCO file of its results")
    if outputs.json is not None:
        result.to_json(outputs.json)
    if outputs.csv is not None:
        result.to_csv(outputs.csv)
    if outputs.sheet is not None:
        write_timeline(result, video, outputs.sheet, fps=fps)
    write_class_video(result, video, outputs, fps=fps)


def write_timeline(
    result: VideoClasses, video: str | os.PathLike, path: str | os.PathLike, *, fps: float = 25.0
) -> None:
    """Write the timeline of a video as PNG: frames, and the scores of the best classes over time."""
    with open_video(os.fspath(video), fps) as reader:
        frames = reader.frames_at_times(middles(result.duration, _FRAMES), short_side=_FRAME_SIDE)
    names = list(result.class_names.values())
    best = ", ".join(f"{name} {score:.2f}" for name, score in result.top(2))
    draw_timeline(
        path,
        result.starts,
        result.ends,
        result.window_scores,
        names,
        result.duration,
        list(frames),
        f"{result.video}: {best}",
    )


def write_class_video(
    result: VideoClasses, video: str | os.PathLike, outputs: Outputs, *, fps: float = 25.0
) -> None:
    """Write ``outputs.video``, an mp4 in which each frame shows the best classes of its window."""
    source = open_source(video, fps)
    writer, size = video_writer(source, outputs)
    if writer is None:
        return
    names = list(result.class_names.values())
    scaler = FrameScaler()
    lowest = DRAW_SCORE if outputs.min_score is None else outputs.min_score
    total = round(source.duration * float(source.rate)) or None
    with writer, progress_bar(f"drawing {source.name}", "frame", total) as progress:
        for frame in source.frames():
            best = top_actions(result.scores_at(frame.second), names, outputs.top, lowest)
            share = frame.second / max(result.duration, 1e-9)
            writer.write(draw_classes(frame.rgb(scaler, size), best, share), frame.second)
            progress.update()
