"""The streaming pipeline: from frames to frames with people, keyframes and tubes, in order of time.

    frames -> mark_due -> find_people -> ActionStream -> Shown, KeyframeActions, Tube

Each stage may run in its own thread (:func:`.stream.in_background`). A keyframe's clip includes later frames, so frames
wait until the nearest keyframe has its scores. Nothing waits longer, so memory use does not depend on the length of the
stream. In real time frames do not wait: they show the latest scores, and keyframes are dropped while the model is busy.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import KeyframeActions, PersonBoxes, Scores, Tube
from ..video.frame_times import reach
from ..video.info import FrameScaler
from .clips import ClipBuffer
from .persons import Frame, PersonDetector
from .predictor import ActionPredictor
from .settings import PipelineSettings
from .smoothing import ScoreSmoother
from .stream import StreamFrame
from .tubes import ShownPerson, TubeCollector

__all__ = [
    "ActionStream",
    "PipelineSettings",
    "Shown",
    "ShownPerson",
    "StageTimes",
    "find_people",
    "mark_due",
]

_MAX_JOBS = 2  # batches that may queue for the action model before frames are held back


class StageTimes:
    """Working time of each stage, and its number of frames or keyframes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def measure(self, stage: str, count: int = 1) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
                self.counts[stage] = self.counts.get(stage, 0) + count

    def watch(self, stage: str, frames: Iterable[StreamFrame]) -> Iterator[StreamFrame]:
        """Yield the same frames and measure the time to get each one."""
        iterator = iter(frames)
        while True:
            with self.measure(stage):
                frame = next(iterator, None)
            if frame is None:
                return
            yield frame


class Due(NamedTuple):
    """A frame, and the second for which to detect people in it; None for no detection."""

    frame: StreamFrame
    second: float | None
    keyframe: bool = False


class Searched(NamedTuple):
    """A frame of :class:`Due` and the people detected in it; None if there was no detection or nothing is known."""

    due: Due
    people: PersonBoxes | None


def mark_due(frames: Iterable[StreamFrame], settings: PipelineSettings) -> Iterator[Due]:
    """Assign each multiple of the detection interval to its nearest frame.

    "Nearest" is meant as in :func:`~modist_det.video.frame_times.nearest`. If frames are further apart than the
    interval, multiples without their own frame are skipped.
    """
    parts = settings.searches_per_keyframe
    spacing = settings.keyframe_every
    number = 0
    held: StreamFrame | None = None
    distance = 0.0
    for frame in frames:
        if held is not None:
            distance = frame.second - held.second
            due, number = _due(held, held.second + reach(distance), number, spacing, parts)
            yield due
        held = frame
    if held is not None:
        yield _due(held, held.second + reach(distance), number, spacing, parts)[0]


def _due(frame: StreamFrame, until: float, number: int, spacing: float, parts: int) -> tuple[Due, int]:
    """The frame with its multiple, starting at ``number`` and not past ``until``, and the next number."""
    step = spacing / parts
    last = math.floor(until / step + 1e-6)
    if number > last:
        return Due(frame, None), number
    # A keyframe has priority.
    chosen = next((n for n in range(number, min(last, number + parts) + 1) if n % parts == 0), number)
    whole, part = divmod(chosen, parts)
    return Due(frame, whole * spacing + part * step, part == 0), last + 1


def find_people(
    frames: Iterable[Due], detector: PersonDetector, video: str, times: StageTimes
) -> Iterator[Searched]:
    """Detect people in the frames that are due."""
    scaler = FrameScaler()
    for due in frames:
        people = None
        if due.second is not None:
            with times.measure("person detection"):
                people = detector([Frame(due.frame.rgb(scaler), video, due.second)])[0]
        yield Searched(due, people)


class Shown(NamedTuple):
    """A frame with the people on it."""

    frame: StreamFrame
    people: list[ShownPerson]


Event = Shown | KeyframeActions | Tube


class _Scoring:
    """Scores keyframes in batches in a separate thread; returns them in order."""

    def __init__(self, predictor: ActionPredictor, batch_size: int, times: StageTimes) -> None:
        self._predictor = predictor
        self._batch_size = batch_size
        self._times = times
        self.executor = ThreadPoolExecutor(1)
        self._batch: list[tuple[KeyframeActions, NDArray[np.uint8]]] = []
        self._jobs: deque[tuple[list[KeyframeActions], Future[list[Scores]]]] = deque()

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs) and not self._jobs[0][1].done()

    def add(self, keyframe: KeyframeActions, clip: NDArray[np.uint8]) -> None:
        self._batch.append((keyframe, clip))
        if len(self._batch) == self._batch_size:
            self.flush()

    def flush(self) -> None:
        """Start an incomplete batch."""
        if self._batch:
            keyframes, clips = map(list, zip(*self._batch, strict=True))
            self._batch = []
            self._jobs.append((keyframes, self.executor.submit(self._predict, keyframes, clips)))

    def results(self, wait: bool) -> Iterator[KeyframeActions]:
        """The scored keyframes; waits for all of them if ``wait`` is set, and for some if the model is far behind."""
        while self._jobs and (wait or len(self._jobs) > _MAX_JOBS or self._jobs[0][1].done()):
            keyframes, future = self._jobs.popleft()
            for keyframe, scores in zip(keyframes, future.result(), strict=True):
                yield replace(keyframe, scores=scores)

    def pending(self) -> Iterator[float]:
        """Seconds of the keyframes that are not yet scored."""
        for keyframes, _ in self._jobs:
            yield from (keyframe.second for keyframe in keyframes)
        yield from (keyframe.second for keyframe, _ in self._batch)

    def _predict(self, keyframes: list[KeyframeActions], clips: list[NDArray[np.uint8]]) -> list[Scores]:
        with self._times.measure("action model", len(clips)):
            sizes = [np.array([clip.shape[2], clip.shape[1]] * 2, np.float32) for clip in clips]
            boxes = [keyframe.boxes * size for keyframe, size in zip(keyframes, sizes, strict=True)]
            return [result.scores for result in self._predictor.predict_batch(clips, boxes)]


class ActionStream:
    """The last stage before drawing: tracks people, makes and scores clips, smooths scores. Use once, for one stream.

    Args:
        predictor: the action model.
        settings: intervals and thresholds.
        detector: the person detector used by :func:`find_people`.
        times: records the time of each stage.
    """

    def __init__(
        self,
        predictor: ActionPredictor,
        settings: PipelineSettings,
        detector: PersonDetector,
        times: StageTimes,
    ) -> None:
        self.settings = settings
        self.times = times
        self.dropped_keyframes = 0
        self._clips = ClipBuffer(predictor.offsets, predictor.short_side)
        self._people = TubeCollector(settings, detector, list(predictor.class_names))
        self._scoring = _Scoring(predictor, settings.batch_size, times)
        self._smoother = ScoreSmoother(settings.smoothing, settings.waits_for_next)
        self._waiting: deque[StreamFrame] = deque()  # to be shown
        self._clipless: deque[tuple[float, float]] = deque()  # keyframes with an incomplete clip
        self._done = -math.inf  # second of the last finished keyframe
        self._now = 0.0
        self._at_end = False  # the stream has ended

    def run(self, frames: Iterable[Searched]) -> Iterator[Event]:
        """Yields keyframes in order, each before the frames that show it, and each tube after its last keyframe."""
        with self._scoring.executor:
            for searched in frames:
                self._take(searched)
                yield from self._advance()
                self._forget()
            self._at_end = True
            self._people.end()
            yield from self._advance()
            yield from self._people.finish(self._done)

    def _take(self, searched: Searched) -> None:
        frame, second, keyframe = searched.due
        self._now = frame.second
        with self.times.measure("clips"):
            self._clips.add(frame)
        self._waiting.append(frame)
        if searched.people is not None:
            self._people.update(frame.second, searched.people)
        if keyframe and second is not None:
            self._clipless.append((second, frame.second))

    def _advance(self) -> Iterator[Event]:
        """Start all possible work and yield finished results."""
        while self._clipless and (self._at_end or self._has_clip(*self._clipless[0])):
            second, frame_second = self._clipless.popleft()
            if self.settings.realtime and self._scoring.is_busy:
                self.dropped_keyframes += 1
            else:
                self._scoring.add(self._people.keyframe(second, frame_second), self._clips.clip(second))
        if self._at_end:
            self._scoring.flush()
        before = self._done
        for scored in self._scoring.results(wait=self._at_end):
            self._people.add_scores(scored)
            yield from self._finish(self._smoother.add(scored))
        if self._at_end:
            yield from self._finish(self._smoother.finish())
        if self._done > before:
            yield from self._people.tubes(self._needed(), self._done)
        while self._waiting and (self._at_end or self.settings.realtime or self._is_ready(self._waiting[0])):
            frame = self._waiting.popleft()
            yield Shown(frame, self._people.shown_at(frame.second))

    def _has_clip(self, second: float, frame_second: float) -> bool:
        settled = self.settings.realtime or self._people.is_settled(frame_second, self._now)
        return settled and self._clips.is_complete(second)

    def _finish(self, keyframes: list[KeyframeActions]) -> Iterator[KeyframeActions]:
        for keyframe in keyframes:
            self._people.add_smoothed(keyframe)
            self._done = keyframe.second
            yield keyframe

    def _is_ready(self, frame: StreamFrame) -> bool:
        nearest_keyframe_done = self._done >= frame.second - self.settings.keyframe_every / 2
        return nearest_keyframe_done and self._people.is_settled(frame.second, self._now)

    def _needed(self) -> float:
        """Second before which all keyframes are finished and all frames were shown."""
        unfinished = [] if self._smoother.waiting is None else [self._smoother.waiting.second]
        unfinished += [*self._scoring.pending(), *(frame_second for _, frame_second in self._clipless)]
        return min([self._waiting[0].second if self._waiting else self._now, *unfinished])

    def _forget(self) -> None:
        """Drop everything that no later clip, keyframe or frame needs."""
        oldest_clip = self._clipless[0][0] if self._clipless else self._now
        self._clips.forget(oldest_clip - self.settings.keyframe_every)
        self._people.forget(self._needed())
