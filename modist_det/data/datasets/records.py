"""Records: whole videos, and keyframes with person boxes as columns of arrays (an object when one is asked for)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .persons import take_ragged

__all__ = ["DetectionRecord", "DetectionRecords", "VideoRecord", "keyframe_id"]


def keyframe_id(video_id: str, second: float) -> str:
    """``"video,0902"``: how AVA's tools name a keyframe; fractions of a second are kept (``"video,2.5"``)."""
    return f"{video_id},{second:04.0f}" if float(second).is_integer() else f"{video_id},{second:.10g}"


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video, or a part of one; without labels for pretraining.

    Attributes:
        number: its place in the data set; equal numbers are one video.
        video_id: as annotated, or the path below the data set's folder without extension.
        video: path of the file or of the folder of frames.
        fps: frames per second of a folder of frames (a video file knows its own).
        labels: class indices, from 0; several where the data set has many labels a video.
        start, end: seconds of the part that counts; None: the whole video.
    """

    number: int
    video_id: str
    video: str
    fps: float | None = None
    labels: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None

    @property
    def id(self) -> str:
        return self.video_id


@dataclass(frozen=True, eq=False)
class DetectionRecord:
    """One keyframe.

    Attributes:
        video_id: as annotated.
        video: path of the video file or of the folder of frames.
        second: as annotated.
        time: seconds from the video's first frame.
        fps: frames per second of a folder of frames (a video file knows its own).
        boxes: float32 (N, 4), x1y1x2y2 in [0, 1].
        actions: N tuples of class ids, from 1; empty where a person does none of them or where it is not known.
        scores: float32 (N,), of the person detector; 1 for ground truth.
    """

    video_id: str
    video: str
    second: float
    time: float
    fps: float
    boxes: NDArray[np.float32]
    actions: tuple[tuple[int, ...], ...]
    scores: NDArray[np.float32]

    @property
    def id(self) -> str:
        return keyframe_id(self.video_id, self.second)


class DetectionRecords(Sequence[DetectionRecord]):
    """Columns: a worker process that is forked shares them, and one that is spawned gets a few large arrays.

    Args:
        video_ids: V names.
        videos: V paths.
        video_index: int (F,), the keyframe's video.
        seconds: float64 (F,), as annotated.
        first_second: the annotation's second at the videos' first frame.
        fps: of folders of frames.
        box_starts: int (F + 1,): boxes ``box_starts[i]:box_starts[i + 1]`` belong to keyframe i.
        boxes: float32 (N, 4), x1y1x2y2 in [0, 1].
        scores: float32 (N,).
        action_starts: int (N + 1,), likewise, into ``actions``.
        actions: int (A,), class ids.
    """

    def __init__(
        self,
        video_ids: Sequence[str],
        videos: Sequence[str],
        video_index: NDArray[np.integer],
        seconds: NDArray[np.float64],
        first_second: float,
        fps: float,
        box_starts: NDArray[np.integer],
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        action_starts: NDArray[np.integer],
        actions: NDArray[np.integer],
    ) -> None:
        self.video_ids = list(video_ids)
        self.videos = list(videos)
        self.video_index = video_index
        self.seconds = seconds
        self.first_second = first_second
        self.fps = fps
        self.box_starts = box_starts
        self.boxes = boxes
        self.scores = scores
        self.action_starts = action_starts
        self.actions = actions

    def __len__(self) -> int:
        return len(self.seconds)

    @overload
    def __getitem__(self, index: int) -> DetectionRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[DetectionRecord]: ...

    def __getitem__(self, index: int | slice) -> DetectionRecord | list[DetectionRecord]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"keyframe {index} of {len(self)}")
        index %= len(self)
        start, stop = self.box_starts[index], self.box_starts[index + 1]
        bounds = self.action_starts[start : stop + 1]
        video, second = self.video_index[index], float(self.seconds[index])
        return DetectionRecord(
            video_id=self.video_ids[video],
            video=self.videos[video],
            second=second,
            time=second - self.first_second,
            fps=self.fps,
            boxes=self.boxes[start:stop],
            actions=tuple(
                tuple(self.actions[a:b].tolist()) for a, b in zip(bounds[:-1], bounds[1:], strict=True)
            ),
            scores=self.scores[start:stop],
        )

    def take(self, index: NDArray[np.integer]) -> DetectionRecords:
        """These keyframes, with the same persons."""
        box_starts, persons = take_ragged(self.box_starts, np.arange(len(self.boxes)), index)
        action_starts, actions = take_ragged(self.action_starts, self.actions, persons)
        return DetectionRecords(
            self.video_ids,
            self.videos,
            self.video_index[index],
            self.seconds[index],
            self.first_second,
            self.fps,
            box_starts,
            self.boxes[persons],
            self.scores[persons],
            action_starts,
            actions,
        )

    def __iter__(self) -> Iterator[DetectionRecord]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} keyframes of {len(self.videos)} videos with {len(self.boxes)} persons>"
