"""Draw the results of a video on its frames again, without detector and model."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import Scores
from ..utils.progress import progress_bar
from .pipeline import Shown
from .results import VideoActions
from .run import Drawing, Outputs, video_writer
from .stream import Source, StreamFrame
from .tubes import ShownPerson

__all__ = ["ShownResults", "draw_frames", "write_video"]


class ShownResults:
    """The people of a result on any frame: boxes interpolated along tubes, scores of the nearest keyframe."""

    def __init__(self, actions: VideoActions) -> None:
        self._tubes = actions.tubes
        seconds: dict[int, list[float]] = defaultdict(list)
        scores: dict[int, list[Scores]] = defaultdict(list)
        for keyframe in actions.keyframes:
            for track, row in zip(keyframe.track_ids.tolist(), keyframe.scores, strict=True):
                seconds[track].append(keyframe.second)
                scores[track].append(row)
        self._scores = {track: (np.array(seconds[track]), scores[track]) for track in seconds}

    def at(self, second: float) -> list[ShownPerson]:
        """The people on the frame at ``second``, by track."""
        return [
            ShownPerson(tube.track_id, tube.box_at(second).clip(0, 1), self._scores_at(tube.track_id, second))
            for tube in sorted(self._tubes, key=lambda tube: tube.track_id)
            if tube.start <= second <= tube.end
        ]

    def _scores_at(self, track: int, second: float) -> Scores | None:
        if track not in self._scores:
            return None
        seconds, scores = self._scores[track]
        return scores[int(np.abs(seconds - second).argmin())]


def write_video(actions: VideoActions, source: Source, outputs: Outputs) -> None:
    """Write ``outputs.video``: each frame of the source with the people of the result.

    Raises:
        UserError: the file cannot be written.
    """
    writer, size = video_writer(source, outputs)
    if writer is None:
        return
    shown, drawing = ShownResults(actions), Drawing(actions.header, outputs, size)
    with writer, progress_bar(f"drawing {source.name}", "frame", actions.num_frames) as progress:
        for frame in source.frames():
            writer.write(drawing(Shown(frame, shown.at(frame.second))), frame.second)
            progress.update()


def draw_frames(
    actions: VideoActions, frames: NDArray[np.uint8], seconds: NDArray[np.float64], outputs: Outputs
) -> list[NDArray[np.uint8]]:
    """The people of the result on decoded frames, uint8 (N, H, W, 3), of these ``seconds``."""
    shown = ShownResults(actions)
    drawing = Drawing(actions.header, outputs, frames.shape[1:3])
    return [
        drawing(Shown(StreamFrame(number, second, frame), shown.at(second)))
        for number, (frame, second) in enumerate(zip(frames, seconds.tolist(), strict=True))
    ]
