"""Records of videos, and of keyframes with person boxes, stored as columns; objects are created on access."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...structures.keyframes import keyframe_id
from ...video.frame_list import ListedFolder
from .columns import Rows, Strings
from .persons import take_ragged

__all__ = ["DetectionRecord", "DetectionRecords", "VideoRecord", "VideoRecords", "keyframe_id"]


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A video or a part of one; has no labels in pretraining.

    Attributes:
        number: its index in the dataset; records of the same video have the same number.
        video_id: as annotated, or the path below the dataset's folder without extension.
        video: path of the file or of the folder of frames.
        fps: frame rate of a frame folder (video files store their own).
        labels: class indices, from 0; several in multi-label datasets.
        start, end: the part to use, in seconds; None for the whole video.
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


@dataclass(eq=False, repr=False)
class VideoRecords(Rows[VideoRecord]):
    """Stored as columns: forked workers share them, and spawned workers receive a few large arrays.

    Args:
        video_ids, videos: N texts.
        fps: float64 (N,), NaN for none.
        label_starts: int64 (N + 1,): row i has ``labels[label_starts[i]:label_starts[i + 1]]``.
        labels: int32, class indices.
        starts, ends: float64 (N,), seconds; NaN for the whole video.
        num_frames: int64 (N,), number of images in frame folders, if listed; else -1.
        numbers: int64 (N,); default: 0, 1, ...
        listed: frame folders with listed images, by path.
    """

    video_ids: Strings
    videos: Strings
    fps: NDArray[np.float64]
    label_starts: NDArray[np.integer]
    labels: NDArray[np.integer]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    num_frames: NDArray[np.integer]
    numbers: NDArray[np.integer] = None  # type: ignore[assignment]
    listed: Mapping[str, ListedFolder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.numbers is None:
            self.numbers = np.arange(len(self.videos))

    @classmethod
    def of(cls, records: Sequence[VideoRecord]) -> VideoRecords:
        """The same records as columns."""
        if isinstance(records, VideoRecords):
            return records
        labels = [record.labels for record in records]
        listed = {
            str(r.video): r.video for r in records if isinstance(r.video, ListedFolder) and r.video.names
        }
        counts = [r.video.num_images if isinstance(r.video, ListedFolder) else None for r in records]

        def numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
            return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

        return cls(
            Strings.of(record.video_id for record in records),
            Strings.of(record.video for record in records),
            numbers(record.fps for record in records),
            np.cumsum([0, *map(len, labels)]),
            np.array([label for row in labels for label in row], dtype=np.int32),
            numbers(record.start for record in records),
            numbers(record.end for record in records),
            np.array([-1 if count is None else count for count in counts], dtype=np.int64),
            np.array([record.number for record in records], dtype=np.int64),
            listed,
        )

    @classmethod
    def join(cls, parts: Sequence[Sequence[VideoRecord]]) -> VideoRecords:
        """Concatenate the parts and renumber their records."""
        columns = [cls.of(part) for part in parts]
        starts = [np.zeros(1, np.int64)]
        for part in columns:
            starts.append(part.label_starts[1:] + starts[-1][-1])

        def joined(name: str) -> NDArray:
            return np.concatenate([np.zeros(0, int), *(getattr(part, name) for part in columns)])

        return cls(
            Strings.join([part.video_ids for part in columns]),
            Strings.join([part.videos for part in columns]),
            joined("fps"),
            np.concatenate(starts),
            joined("labels"),
            joined("starts"),
            joined("ends"),
            joined("num_frames"),
            listed={path: folder for part in columns for path, folder in part.listed.items()},
        )

    def take(self, index: NDArray[np.integer]) -> VideoRecords:
        """Select records; they keep their numbers."""
        names = ("video_ids", "videos", "fps", "starts", "ends", "num_frames", "numbers")
        columns = {name: getattr(self, name).take(index) for name in names}
        label_starts, labels = take_ragged(self.label_starts, self.labels, index)
        return replace(self, **columns, label_starts=label_starts, labels=labels)

    def numbered_by_video(self) -> VideoRecords:
        """The same records, of which those of one file have one number: the index of the first of them."""
        return replace(self, numbers=self.videos.places_in(self.videos))

    def with_ids(self, video_ids: Iterable[str]) -> VideoRecords:
        """The same records with other ids."""
        return replace(self, video_ids=Strings.of(video_ids))

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, index: int) -> VideoRecord:
        video = self.videos[index]
        if video in self.listed:
            video = self.listed[video]
        elif self.num_frames[index] >= 0:
            video = ListedFolder(video, num_images=int(self.num_frames[index]))
        return VideoRecord(
            int(self.numbers[index]),
            self.video_ids[index],
            video,
            _or_none(self.fps[index]),
            tuple(self.labels[self.label_starts[index] : self.label_starts[index + 1]].tolist()),
            _or_none(self.starts[index]),
            _or_none(self.ends[index]),
        )

    def __repr__(self) -> str:
        return f"<{len(self)} videos>"


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@dataclass(frozen=True, eq=False)
class DetectionRecord:
    """One keyframe.

    Attributes:
        video_id: as annotated.
        video: path of the video file or of the folder of frames.
        second: as annotated.
        time: seconds from the video's first frame.
        fps: frame rate of a frame folder (video files store their own).
        boxes: float32 (N, 4), x1y1x2y2 in [0, 1].
        actions: N tuples of class ids, from 1; empty if the person has no known action.
        scores: float32 (N,), person detector's scores; 1 for ground truth.
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


@dataclass(eq=False, repr=False)
class DetectionRecords(Rows[DetectionRecord]):
    """Stored as columns: forked workers share them, and spawned workers receive a few large arrays.

    Args:
        video_ids: V names.
        videos: V paths.
        video_index: int (F,), index of the keyframe's video.
        seconds: float64 (F,), as annotated.
        first_second: annotated second of each video's first frame.
        fps: frame rate of frame folders.
        box_starts: int (F + 1,): boxes ``box_starts[i]:box_starts[i + 1]`` belong to keyframe i.
        boxes: float32 (N, 4), x1y1x2y2 in [0, 1].
        scores: float32 (N,).
        action_starts: int (N + 1,), likewise, ranges of ``actions``.
        actions: int (A,), class ids.
    """

    video_ids: Sequence[str]
    videos: Sequence[str]
    video_index: NDArray[np.integer]
    seconds: NDArray[np.float64]
    first_second: float
    fps: float
    box_starts: NDArray[np.integer]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    action_starts: NDArray[np.integer]
    actions: NDArray[np.integer]

    def __len__(self) -> int:
        return len(self.seconds)

    def row(self, index: int) -> DetectionRecord:
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

    def __repr__(self) -> str:
        return f"<{len(self)} keyframes of {len(self.videos)} videos with {len(self.boxes)} persons>"
