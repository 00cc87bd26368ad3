"""A stream of frames in; frames with people on them, keyframes and tubes out, in the order of time.

    frames -> mark_due -> find_people -> ActionStream -> Shown, KeyframeActions, Tube

Each arrow may be a thread (:func:`.stream.in_background`). A keyframe needs frames after it, so frames wait until the
keyframe nearest to them has its scores; nothing waits longer, so memory does not depend on the length of the stream. In
real time frames do not wait: they show the latest scores, and keyframes that come while the model is busy are left out.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..video.info import FrameScaler, nearest, output_size, reach
from .persons import PersonDetector, Picture
from .predictor import ActionPredictor
from .results import Boxes, KeyframeActions, PersonBoxes, Scores, Tube
from .stream import StreamFrame
from .tracking import Track, Tracker
from .tubes import find_segments, smooth_scores

__all__ = [
    "ActionStream",
    "PipelineSettings",
    "Shown",
    "ShownPerson",
    "StageTimes",
    "find_people",
    "mark_due",
]

_MAX_JOBS = 2  # batches that the action model is behind before frames have to wait
_MAX_TUBE = 5000  # times in one tube; a longer one is given in parts


@dataclass(frozen=True)
class PipelineSettings:
    """How often what is done, and what counts.

    Attributes:
        keyframe_every: seconds between keyframes; they lie at its multiples.
        detect_every: seconds between two searches for people, at most; keyframes are always searched.
        smoothing: a person's scores are averaged over time, with weights that are halved every so many seconds: in
            tubes all of them, at a keyframe those of the one before and the one after; 0: each keyframe stands alone.
        min_score: which an action has to reach to be in a tube.
        keep_share: of ``min_score``, to which it may fall before it ends.
        max_gap: seconds for which a person may go unseen; at least two and a half intervals between searches.
        batch_size: keyframes in one pass of the model.
        realtime: for live streams, see above.
    """

    keyframe_every: float = 0.5
    detect_every: float = 0.2
    smoothing: float = 0.5
    min_score: float = 0.4
    keep_share: float = 0.5
    max_gap: float = 1.2
    batch_size: int = 1
    realtime: bool = False

    def __post_init__(self) -> None:
        for name in ("keyframe_every", "detect_every", "max_gap"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)} s, but has to be above 0")
        if not 0 <= self.smoothing < math.inf:
            raise UserError(f"smoothing is {self.smoothing} s, but has to be 0 or more")
        for name in ("min_score", "keep_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}, but has to be from 0 to 1")
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}, but has to be 1 or more")

    @property
    def searches_per_keyframe(self) -> int:
        return max(math.ceil(self.keyframe_every / self.detect_every - 1e-9), 1)


class StageTimes:
    """Seconds of work of each stage, and how many frames or keyframes it was."""

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
        """The same frames; what it takes to get them is measured."""
        iterator = iter(frames)
        while True:
            with self.measure(stage):
                frame = next(iterator, None)
            if frame is None:
                return
            yield frame


class Due(NamedTuple):
    """A frame, and the time for which people are to be looked for in it; None: not in this frame."""

    frame: StreamFrame
    second: float | None
    keyframe: bool = False


class Searched(NamedTuple):
    """A frame of :class:`Due` and who was found; None: nobody looked, or nothing is known."""

    due: Due
    people: PersonBoxes | None


def mark_due(frames: Iterable[StreamFrame], settings: PipelineSettings) -> Iterator[Due]:
    """Choose for each multiple of the search interval the frame that :func:`.nearest` chooses for it.

    Where frames are further apart than the interval, multiples without a frame of their own are left out.
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
    """The frame with the first multiple, from ``number`` on, that is not past ``until``; and the next number."""
    step = spacing / parts
    last = math.floor(until / step + 1e-6)
    if number > last:
        return Due(frame, None), number
    # Of several, a keyframe's counts.
    chosen = next((n for n in range(number, min(last, number + parts) + 1) if n % parts == 0), number)
    whole, part = divmod(chosen, parts)
    return Due(frame, whole * spacing + part * step, part == 0), last + 1


def find_people(
    frames: Iterable[Due], detector: PersonDetector, video: str, times: StageTimes
) -> Iterator[Searched]:
    """Look for people in the frames that are due."""
    scaler = FrameScaler()
    for due in frames:
        people = None
        if due.second is not None:
            with times.measure("person detection"):
                picture = Picture(due.frame.rgb(scaler), video, due.second)
                people = detector([picture])[0]
        yield Searched(due, people)


class ShownPerson(NamedTuple):
    """A person on a frame: box (4,) in [0, 1], scores (C,), None while they are not known."""

    track_id: int
    box: Boxes
    scores: Scores | None


class Shown(NamedTuple):
    """A frame and the people on it."""

    frame: StreamFrame
    people: list[ShownPerson]


Event = Shown | KeyframeActions | Tube


class _Person:
    """A track with its scores, and what of both is not yet in a tube."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.times: list[float] = []
        self.boxes: list[Boxes] = []
        self.score_times: list[float] = []
        self.scores: list[Scores] = []
        self.recent: deque[tuple[float, Scores]] = deque()  # for showing

    def nearest_scores(self, second: float) -> Scores | None:
        if not self.recent:
            return None
        return min(self.recent, key=lambda entry: abs(entry[0] - second))[1]

    def cut_tube(self, until: float, settings: PipelineSettings, class_ids: Sequence[int]) -> Tube:
        """Everything up to ``until`` as a tube; it is forgotten here."""
        count = np.searchsorted(self.times, until, "right")
        scored = np.searchsorted(self.score_times, until, "right")
        times, score_times = np.array(self.times[:count]), np.array(self.score_times[:scored])
        table = np.array(self.scores[:scored], np.float32).reshape(-1, len(class_ids))
        segments = find_segments(
            score_times,
            smooth_scores(score_times, table, settings.smoothing),
            times[0],
            times[-1],
            class_ids,
            settings.min_score,
            settings.min_score * settings.keep_share,
        )
        tube = Tube(self.track.id, times, np.array(self.boxes[:count], np.float32), segments)
        del self.times[:count], self.boxes[:count], self.score_times[:scored], self.scores[:scored]
        return tube


class _Keyframe(NamedTuple):
    """A keyframe with its people, on its way to or from the model."""

    second: float
    frame_second: float
    people: list[_Person]
    boxes: Boxes
    person_scores: Scores
    scores: Scores  # empty before the model has seen it


class ActionStream:
    """Tracking, clips, scores, smoothing: the last stage before drawing. For one stream, once.

    Args:
        predictor: the action model.
        settings: see there.
        detector: the person detector that :func:`find_people` uses.
        times: where the work is noted.
    """

    def __init__(
        self,
        predictor: ActionPredictor,
        settings: PipelineSettings,
        detector: PersonDetector,
        times: StageTimes,
    ) -> None:
        self.predictor = predictor
        self.settings = settings
        self.min_hits = detector.min_hits
        interval = max(detector.spacing, settings.keyframe_every / settings.searches_per_keyframe)
        # A box stands for the time that is nearer to it than to the searches before and after.
        self._hold = interval / 2
        # Rare searches must not end every track; one may fail.
        self._max_gap = max(settings.max_gap, 2.5 * interval)
        self.times = times
        self.dropped_keyframes = 0
        self._tracker = Tracker(detector.start_score, max_gap=self._max_gap)
        self._people: dict[int, _Person] = {}
        self._scaler = FrameScaler()
        # Small pictures of the latest frames, of which clips are made.
        self._small: deque[tuple[float, NDArray[np.uint8]]] = deque()
        self._waiting: deque[StreamFrame] = deque()  # to be shown
        self._clipless: deque[tuple[float, float]] = deque()  # keyframes whose clip is not complete
        self._batch: list[tuple[_Keyframe, NDArray[np.uint8]]] = []
        self._jobs: deque[tuple[list[_Keyframe], Future]] = deque()
        self._scored: deque[_Keyframe] = deque()  # before, at and after the keyframe to be smoothed next
        self._smoothed_before = 0  # of _scored
        self._done = -math.inf  # second of the last keyframe that is finished
        self._searched = -math.inf  # second of the last frame with a search for people
        self._now = 0.0
        self._at_end = False  # no more frames come

    def run(self, frames: Iterable[Searched]) -> Iterator[Event]:
        """Keyframes come in order, and each before the frames that show it; a tube after its last keyframe."""
        with ThreadPoolExecutor(1) as executor:
            for searched in frames:
                self._take(searched)
                self._make_clips(executor)
                yield from self._collect()
                yield from self._show()
                self._forget()
            self._at_end = True
            self._make_clips(executor)
            yield from self._collect()
            yield from self._show()
            self._tracker.finish()
            self._now = math.inf
            yield from self._end_tubes()

    # A frame comes

    def _take(self, searched: Searched) -> None:
        frame, second, keyframe = searched.due
        self._now = frame.second
        with self.times.measure("clips"):
            small = frame.rgb(self._scaler, output_size(*frame.size, None, self.predictor.short_side))
        self._small.append((frame.second, small))
        self._waiting.append(frame)
        if searched.people is not None:
            self._tracker.update(frame.second, searched.people)
            self._searched = frame.second
            for track in self._tracker.active:
                if track.last == frame.second:
                    person = self._people.setdefault(track.id, _Person(track))
                    person.times.append(frame.second)
                    person.boxes.append(track.boxes[-1])
        if keyframe and second is not None:
            self._clipless.append((second, frame.second))

    def _make_clips(self, executor: ThreadPoolExecutor) -> None:
        """Give the model the keyframes whose clips are complete."""
        while self._clipless and (self._at_end or self._has_clip(*self._clipless[0])):
            second, frame_second = self._clipless.popleft()
            if self.settings.realtime and self._jobs and not self._jobs[0][1].done():
                self.dropped_keyframes += 1
                continue
            self._batch.append((self._keyframe(second, frame_second), self._clip(second)))
            if len(self._batch) == self.settings.batch_size:
                self._submit(executor)
        if self._at_end and self._batch:
            self._submit(executor)

    def _has_clip(self, second: float, frame_second: float) -> bool:
        return self._now >= second + self.predictor.offsets[-1] and (
            self.settings.realtime or self._is_settled(frame_second)
        )

    def _is_settled(self, second: float) -> bool:
        """Whether nothing that comes can add people at ``second``: people were looked for since, or long ago."""
        return self._searched > second or self._now - second > self._max_gap

    def _keyframe(self, second: float, frame_second: float) -> _Keyframe:
        """Who is there, between the observations before and after."""
        present = [(person, person.track.at(frame_second, self._hold)) for person in self._people.values()]
        found = [
            (person, *place)
            for person, place in present
            if place is not None and self._is_believed(person.track)
        ]
        return _Keyframe(
            second,
            frame_second,
            [person for person, _, _ in found],
            np.array([box for _, box, _ in found], np.float32).reshape(-1, 4).clip(0, 1),
            np.array([score for _, _, score in found], np.float32),
            np.zeros((0, 0), np.float32),
        )

    def _is_believed(self, track: Track) -> bool:
        # A video of one picture is believed as it is.
        return track.strong_hits >= (
            min(self.min_hits, self._tracker.updates) if self._at_end else self.min_hits
        )

    def _clip(self, second: float) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3): the frames nearest to those that the model wants, as ``frames_at_times`` gives them."""
        seconds = np.array([second for second, _ in self._small])
        chosen = nearest(seconds, np.maximum(second + self.predictor.offsets, 0.0), 1e-6)
        return np.stack([self._small[index][1] for index in chosen.tolist()])

    def _submit(self, executor: ThreadPoolExecutor) -> None:
        keyframes, clips = [keyframe for keyframe, _ in self._batch], [clip for _, clip in self._batch]
        self._batch = []
        self._jobs.append((keyframes, executor.submit(self._predict, keyframes, clips)))

    def _predict(self, keyframes: list[_Keyframe], clips: list[NDArray[np.uint8]]) -> list[Scores]:
        with self.times.measure("action model", len(clips)):
            sizes = [np.array([clip.shape[2], clip.shape[1]] * 2, np.float32) for clip in clips]
            boxes = [keyframe.boxes * size for keyframe, size in zip(keyframes, sizes, strict=True)]
            return [result.scores for result in self.predictor.predict_batch(clips, boxes)]

    # Scores come

    def _collect(self) -> Iterator[Event]:
        """Keyframes with their scores as they get ready, and tubes that are complete with them."""
        before = self._done
        while self._jobs and (self._at_end or len(self._jobs) > _MAX_JOBS or self._jobs[0][1].done()):
            keyframes, future = self._jobs.popleft()
            for keyframe, scores in zip(keyframes, future.result(), strict=True):
                self._scored.append(keyframe._replace(scores=scores))
                if self._smoothed_before < len(self._scored) - 1 or self._looks_back_only:
                    yield self._finish_keyframe()
        if self._at_end and self._smoothed_before < len(self._scored):
            yield self._finish_keyframe()
        if self._done > before:
            yield from self._end_tubes()

    @property
    def _looks_back_only(self) -> bool:
        """Without smoothing, and in real time, a keyframe does not wait for the next one."""
        return self.settings.realtime or self.settings.smoothing == 0

    def _finish_keyframe(self) -> KeyframeActions:
        keyframe = self._scored[self._smoothed_before]
        scores = keyframe.scores
        if self.settings.smoothing > 0 and len(keyframe.people):
            scores = np.stack([self._smooth(keyframe, person) for person in keyframe.people])
        for person, raw, smooth in zip(keyframe.people, keyframe.scores, scores, strict=True):
            person.score_times.append(keyframe.second)
            person.scores.append(raw)
            person.recent.append((keyframe.second, smooth))
        self._done = keyframe.second
        self._smoothed_before += 1
        if self._smoothed_before > 1:
            self._scored.popleft()
            self._smoothed_before -= 1
        ids = np.array([person.track.id for person in keyframe.people], np.int64)
        return KeyframeActions(keyframe.second, keyframe.boxes, keyframe.person_scores, ids, scores)

    def _smooth(self, keyframe: _Keyframe, person: _Person) -> Scores:
        """The weighted mean of a person's scores at this keyframe and at its neighbours."""
        total, weights = np.zeros(keyframe.scores.shape[1]), 0.0
        for other in self._scored:
            if person in other.people:
                weight = 0.5 ** (abs(other.second - keyframe.second) / self.settings.smoothing)
                total += weight * other.scores[other.people.index(person)]
                weights += weight
        return (total / weights).astype(np.float32)

    def _end_tubes(self) -> Iterator[Tube]:
        """Tubes of people who left, once all of their keyframes are finished; parts of very long ones."""
        active = {track.id for track in self._tracker.active}
        ids, settings = list(self.predictor.class_names), self.settings
        for number, person in list(self._people.items()):
            shown = not self._waiting or self._waiting[0].second > person.track.last
            unfinished = min([self._oldest_needed(), self._now])
            if number not in active and shown and unfinished > person.track.last:
                del self._people[number]
                if self._is_believed(person.track) and person.times:
                    yield person.cut_tube(math.inf, settings, ids)
            elif len(person.times) > _MAX_TUBE and person.times[0] <= self._done:
                yield person.cut_tube(self._done, settings, ids)

    # Frames go

    def _show(self) -> Iterator[Shown]:
        while self._waiting and (self._at_end or self.settings.realtime or self._is_ready(self._waiting[0])):
            frame = self._waiting.popleft()
            yield Shown(frame, self._people_on(frame.second))

    def _is_ready(self, frame: StreamFrame) -> bool:
        nearest_keyframe_done = self._done >= frame.second - self.settings.keyframe_every / 2
        return nearest_keyframe_done and self._is_settled(frame.second)

    def _people_on(self, second: float) -> list[ShownPerson]:
        shown = []
        for person in self._people.values():
            track = person.track
            place = track.at(second, self._hold)
            if place is None and self._may_be_there(track, second):
                place = track.predict(second).astype(np.float32), track.scores[-1]
            if place is not None and self._is_believed(track):
                shown.append(ShownPerson(track.id, place[0].clip(0, 1), person.nearest_scores(second)))
        return shown

    def _may_be_there(self, track: Track, second: float) -> bool:
        """Whether to show a person after the last observation: nobody looked since, or (in real time) just once."""
        unseen = second - track.last
        if track.last == self._searched:
            return 0 < unseen <= self._max_gap
        return self.settings.realtime and 0 < unseen <= 2 * self.settings.detect_every

    def _oldest_needed(self) -> float:
        """Second of the oldest keyframe that is not finished; infinite where all are."""
        pending = [keyframe.second for keyframe in list(self._scored)[self._smoothed_before :]]
        pending += [keyframe.second for keyframes, _ in self._jobs for keyframe in keyframes]
        pending += [keyframe.second for keyframe, _ in self._batch]
        pending += [frame_second for _, frame_second in self._clipless]
        return min(pending, default=math.inf)

    def _forget(self) -> None:
        """Drop what no later clip, keyframe or frame can need."""
        oldest_clip = self._clipless[0][0] if self._clipless else self._now
        start = oldest_clip + self.predictor.offsets[0]
        while len(self._small) > 1 and self._small[1][0] <= start - self.settings.keyframe_every:
            self._small.popleft()
        needed = min(self._waiting[0].second if self._waiting else self._now, self._oldest_needed())
        for person in self._people.values():
            person.track.forget(needed)
            while len(person.recent) > 1 and person.recent[1][0] <= needed:
                person.recent.popleft()
