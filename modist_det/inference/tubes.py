"""Collect detections and scores over time into tubes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import ActionSegment, Boxes, KeyframeActions, PersonBoxes, Scores, Tube
from ..structures.tracking import Track, Tracker
from .persons import PersonDetector
from .settings import PipelineSettings
from .smoothing import smooth_scores

__all__ = ["ShownPerson", "TubeCollector", "find_segments", "smooth_scores"]

_MAX_TUBE = 5000  # times per tube; longer tubes are split into parts


def find_segments(
    times: NDArray[np.float64],
    scores: Scores,
    start: float,
    end: float,
    class_ids: Sequence[int],
    min_score: float,
    keep_score: float | None = None,
) -> tuple[ActionSegment, ...]:
    """Find the maximal runs of keyframes in which a class keeps ``keep_score`` and reaches ``min_score`` at least once.

    A keyframe covers the times that are nearest to it within [start, end].

    Args:
        times: (S,), ascending.
        scores: (S, C).
        start, end: those of the tube.
        class_ids: C class ids.
        keep_score: default: ``min_score``.

    Returns:
        Segments sorted by start, then class; their scores are means over the run.
    """
    if not len(times):
        return ()
    middles = (times[1:] + times[:-1]) / 2
    bounds = np.clip(np.concatenate([[start], middles, [end]]), start, end)
    # Runs begin and end where the mask changes; padded with a row of False at both ends.
    done = np.pad(scores >= (min_score if keep_score is None else keep_score), ((1, 1), (0, 0)))
    changes = np.diff(done.astype(np.int8), axis=0)
    segments = []
    for column, number in enumerate(class_ids):
        begins, ends = np.flatnonzero(changes[:, column] == 1), np.flatnonzero(changes[:, column] == -1)
        for first, after in zip(begins.tolist(), ends.tolist(), strict=True):
            run = scores[first:after, column]
            if run.max() >= min_score:
                segments.append(
                    ActionSegment(int(number), float(bounds[first]), float(bounds[after]), float(run.mean()))
                )
    return tuple(sorted(segments, key=lambda segment: (segment.start, segment.action)))


class ShownPerson(NamedTuple):
    """A person on a frame: box (4,) in [0, 1], and scores (C,) or None while they are unknown."""

    track_id: int
    box: Boxes
    scores: Scores | None


class _Person:
    """A track with its scores, and the part of both that is not yet in a tube."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.times: list[float] = []
        self.boxes: list[Boxes] = []
        self.score_times: list[float] = []
        self.scores: list[Scores] = []
        self.recent: deque[tuple[float, Scores]] = deque()  # smoothed, for display

    def nearest_scores(self, second: float) -> Scores | None:
        return min(self.recent, key=lambda entry: abs(entry[0] - second))[1] if self.recent else None

    def cut_tube(self, until: float, settings: PipelineSettings, class_ids: Sequence[int]) -> Tube:
        """Move everything up to ``until`` into a tube."""
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


class TubeCollector:
    """Tracks people, stores their boxes and scores, and yields each person's tube when it is complete.

    Args:
        settings: thresholds and intervals.
        detector: source of the detections; see :class:`.PersonDetector`.
        class_ids: C class ids of the score columns.

    Attributes:
        max_gap: seconds after its last detection at which a track ends.
    """

    def __init__(
        self, settings: PipelineSettings, detector: PersonDetector, class_ids: Sequence[int]
    ) -> None:
        interval = max(detector.spacing, settings.keyframe_every / settings.searches_per_keyframe)
        # A box covers the times that are nearer to it than to the previous and the next detection.
        self._hold = interval / 2
        # With rare detections one may be missed without ending the track.
        self.max_gap = max(settings.max_gap, 2.5 * interval)
        self._settings = settings
        self._class_ids = class_ids
        self._min_hits = detector.min_hits
        self._tracker = Tracker(detector.start_score, max_gap=self.max_gap)
        self._people: dict[int, _Person] = {}
        self._searched = -math.inf  # second of the latest detections

    def update(self, second: float, people: PersonBoxes) -> None:
        """Add the detections in the frame at ``second``; frames come in order."""
        self._tracker.update(second, people)
        self._searched = second
        for track in self._tracker.active:
            if track.last == second:
                person = self._people.setdefault(track.id, _Person(track))
                person.times.append(second)
                person.boxes.append(track.boxes[-1])

    def end(self) -> None:
        """Signal the end of detections: in a video with few of them, each one is accepted."""
        self._min_hits = min(self._min_hits, self._tracker.updates)

    def is_settled(self, second: float, now: float) -> bool:
        """Whether detections after ``now`` can no longer change the people at ``second``."""
        return self._searched > second or now - second > self.max_gap

    def keyframe(self, second: float, frame_second: float) -> KeyframeActions:
        """The keyframe at ``second`` (its frame is at ``frame_second``) with its people, but without scores."""
        present = [(person.track, person.track.at(frame_second, self._hold)) for person in self._believed()]
        found = [(track.id, *place) for track, place in present if place is not None]
        return KeyframeActions(
            second,
            np.array([box for _, box, _ in found], np.float32).reshape(-1, 4).clip(0, 1),
            np.array([score for _, _, score in found], np.float32),
            np.array([number for number, _, _ in found], np.int64),
            np.zeros((len(found), 0), np.float32),
        )

    def add_scores(self, keyframe: KeyframeActions) -> None:
        """Store the scores of a keyframe for the tubes of its people."""
        for person, scores in self._rows(keyframe):
            person.score_times.append(keyframe.second)
            person.scores.append(scores)

    def add_smoothed(self, keyframe: KeyframeActions) -> None:
        """Store the smoothed scores of a keyframe for display."""
        for person, scores in self._rows(keyframe):
            person.recent.append((keyframe.second, scores))

    def _rows(self, keyframe: KeyframeActions) -> Iterator[tuple[_Person, Scores]]:
        for number, scores in zip(keyframe.track_ids.tolist(), keyframe.scores, strict=True):
            if number in self._people:
                yield self._people[number], scores

    def shown_at(self, second: float) -> list[ShownPerson]:
        """The people on a frame, each with the scores of the nearest keyframe."""
        shown = []
        for person in self._believed():
            track = person.track
            place = track.at(second, self._hold)
            if place is None and self._may_be_there(track, second):
                place = track.predict(second).astype(np.float32), track.scores[-1]
            if place is not None:
                shown.append(ShownPerson(track.id, place[0].clip(0, 1), person.nearest_scores(second)))
        return shown

    def _believed(self) -> list[_Person]:
        return [p for p in self._people.values() if p.track.strong_hits >= self._min_hits]

    def _may_be_there(self, track: Track, second: float) -> bool:
        """Whether to show a person after its last detection: none was made since, or (in real time) only one."""
        unseen = second - track.last
        if track.last == self._searched:
            return 0 < unseen <= self.max_gap
        return self._settings.realtime and 0 < unseen <= 2 * self._settings.detect_every

    def tubes(self, needed: float, done: float) -> Iterator[Tube]:
        """Yield the tubes of people who have left, and parts of very long tubes.

        Args:
            needed: second before which all keyframes are scored and all frames were shown.
            done: second of the last keyframe with smoothed scores.
        """
        active = {track.id for track in self._tracker.active}
        believed = self._believed()
        for number, person in list(self._people.items()):
            # A box remains valid for a while after its detection: a keyframe then also has scores of this person.
            if number not in active and needed > person.track.last + self._hold:
                del self._people[number]
                if person in believed and person.times:
                    yield person.cut_tube(math.inf, self._settings, self._class_ids)
            elif len(person.times) > _MAX_TUBE and person.times[0] <= done:
                yield person.cut_tube(done, self._settings, self._class_ids)

    def finish(self, done: float) -> Iterator[Tube]:
        """Yield the tubes of all remaining people."""
        self._tracker.finish()
        return self.tubes(math.inf, done)

    def forget(self, before: float) -> None:
        """Drop data that keyframes and frames from ``before`` on do not need."""
        for person in self._people.values():
            person.track.forget(before)
            while len(person.recent) > 1 and person.recent[1][0] <= before:
                person.recent.popleft()
