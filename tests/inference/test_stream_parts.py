"""The parts of the action stream, each alone: clip buffer, score smoother, tube collector."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from modist_det.inference import KeyframeActions, PersonBoxes, PipelineSettings
from modist_det.inference.clips import ClipBuffer
from modist_det.inference.smoothing import ScoreSmoother
from modist_det.inference.stream import StreamFrame
from modist_det.inference.tubes import TubeCollector


def frame(second: float) -> StreamFrame:
    """Every pixel is the second times 10."""
    return StreamFrame(round(10 * second), second, np.full((8, 8, 3), round(10 * second), np.uint8))


def test_a_clip_has_the_nearest_frames_and_is_complete_with_its_last():
    buffer = ClipBuffer(np.array([-0.4, 0.0, 0.4]), 8)
    for second in (0.0, 0.3, 0.6, 0.9):
        buffer.add(frame(second))
    assert buffer.is_complete(0.5) and not buffer.is_complete(0.6)
    assert buffer.clip(0.5)[:, 0, 0, 0].tolist() == [0, 6, 9]
    assert buffer.clip(0.1)[:, 0, 0, 0].tolist() == [0, 0, 6]  # times before the video are its beginning
    buffer.forget(1.0)  # a clip around 1.0 begins at 0.6
    assert len(buffer) == 2
    assert buffer.clip(1.0)[:, 0, 0, 0].tolist() == [6, 9, 9]


def keyframe(second: float, scores: dict[int, float]) -> KeyframeActions:
    count = len(scores)
    return KeyframeActions(
        second,
        np.tile(np.array([0.1, 0.1, 0.5, 0.9], np.float32), (count, 1)),
        np.ones(count, np.float32),
        np.array(list(scores), np.int64),
        np.array(list(scores.values()), np.float32).reshape(-1, 1),
    )


def smoothed(smoother: ScoreSmoother, keyframes: list[KeyframeActions]) -> list[list[dict[int, float]]]:
    """What comes out with each keyframe, and at the end."""
    given = [*(smoother.add(k) for k in keyframes), smoother.finish()]
    return [
        [dict(zip(k.track_ids.tolist(), k.scores[:, 0].tolist(), strict=True)) for k in ready]
        for ready in given
    ]


def test_smoothing_follows_each_track():
    """Half-life 1 s: the neighbours, 1 s away, have weight 1/2. Track 2 is at one keyframe only."""
    keyframes = [keyframe(0, {1: 0.0}), keyframe(1, {2: 0.6, 1: 0.8}), keyframe(2, {1: 0.4}), keyframe(3, {})]
    given = smoothed(ScoreSmoother(1.0, waits=True), keyframes)
    assert [len(ready) for ready in given] == [0, 1, 1, 1, 1]
    assert given[1] == [{1: pytest.approx((0.0 + 0.4) / 1.5)}]
    assert given[2] == [{2: pytest.approx(0.6), 1: pytest.approx((0.0 + 0.8 + 0.2) / 2)}]
    assert given[3] == [{1: pytest.approx((0.4 + 0.4) / 1.5)}]
    assert given[4] == [{}]


def test_without_waiting_only_the_past_counts():
    keyframes = [keyframe(0, {1: 0.0}), keyframe(1, {1: 0.9}), keyframe(3, {1: 0.5})]
    given = smoothed(ScoreSmoother(1.0, waits=False), keyframes)
    assert given == [
        [{1: 0.0}],
        [{1: pytest.approx(0.9 / 1.5)}],
        [{1: pytest.approx((0.5 + 0.9 / 4) / 1.25)}],
        [],
    ]
    assert smoothed(ScoreSmoother(0.0, waits=False), keyframes)[1] == [{1: pytest.approx(0.9)}]


def collector(**settings) -> TubeCollector:
    detector = SimpleNamespace(start_score=0.5, min_hits=2, spacing=0.0)
    return TubeCollector(PipelineSettings(detect_every=0.5, max_gap=1.2, **settings), detector, [7])


def see(people: TubeCollector, second: float, *lefts: float) -> None:
    boxes = [[left, 0.2, left + 0.2, 0.8] for left in lefts]
    people.update(
        second, PersonBoxes(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))
    )


def test_who_is_at_a_keyframe():
    people = collector()
    see(people, 0.0, 0.1)
    assert len(people.keyframe(0.0, 0.0)) == 0  # seen once, not yet believed
    see(people, 0.5, 0.2)
    found = people.keyframe(0.25, 0.25)
    np.testing.assert_allclose(found.boxes, [[0.15, 0.2, 0.35, 0.8]], atol=1e-6)
    assert found.track_ids.tolist() == [1]
    assert len(people.keyframe(0.7, 0.7)) == 1  # a box stands for half an interval around it
    assert len(people.keyframe(0.8, 0.8)) == 0


def test_a_tube_comes_when_its_person_has_left_and_all_keyframes_are_done():
    people = collector(smoothing=0.0, min_score=0.5)
    for second in (0.0, 0.5, 1.0):
        see(people, second, 0.1)
    for second, score in ((0.0, 0.9), (0.5, 0.2), (1.0, 0.7)):
        scored = keyframe(second, {1: score})
        people.add_scores(scored)
        people.add_smoothed(scored)
    for second in (1.5, 2.0):
        see(people, second)
        assert list(people.tubes(second, second)) == []
    see(people, 2.5)
    assert list(people.tubes(1.0, 1.0)) == []  # a keyframe at 1.0 is not done
    assert (
        list(people.tubes(1.2, 1.0)) == []
    )  # nor one at 1.2, at which the last box still stands for the person
    (tube,) = people.tubes(2.5, 2.5)
    assert tube.track_id == 1 and tube.times.tolist() == [0.0, 0.5, 1.0]
    # Scores count up to half way to the next keyframe; 0.2 is below half of 0.5, at which an action ends.
    assert [(s.action, s.start, s.end) for s in tube.actions] == [(7, 0.0, 0.25), (7, 0.75, 1.0)]
    assert [s.score for s in tube.actions] == pytest.approx([0.9, 0.7])
    assert list(people.finish(math.inf)) == []


def test_scores_shown_are_those_of_the_nearest_keyframe():
    people = collector()
    for second in (0.0, 0.5, 1.0):
        see(people, second, 0.1)
    assert people.shown_at(0.5)[0].scores is None
    for second, score in ((0.0, 0.9), (1.0, 0.7)):
        people.add_smoothed(keyframe(second, {1: score}))
    assert [people.shown_at(s)[0].scores.item() for s in (0.4, 0.6)] == pytest.approx([0.9, 0.7])


def test_what_is_forgotten_is_not_kept():
    people = collector()
    for second in (0.0, 0.5, 1.0):
        see(people, second, 0.1)
    for second, score in ((0.75, 0.9), (1.0, 0.7)):
        people.add_smoothed(keyframe(second, {1: score}))
    assert len(people.shown_at(0.0)) == 1 and people.shown_at(0.8)[0].scores.item() == pytest.approx(0.9)
    people.forget(1.0)
    assert people.shown_at(0.0) == [] and people.shown_at(0.8)[0].scores.item() == pytest.approx(0.7)


def share_of_step(passed: float) -> float:
    """How many times the step between two detections a person is from the first, as long after the second.

    Regression of that position on the step, for errors of 0.05, a speed of 0.5 and an acceleration of 1.25 heights of
    the box.
    """
    error, speed, acceleration = 0.05**2, 0.5**2, 1.25**2
    variance = speed * passed**2 + acceleration * passed**4 / 4 + 2 * error
    of_second = variance - error  # covariances with the step: of the second position, and of the speed then
    of_speed = speed * passed + acceleration * passed**3 / 2
    return (of_second + passed * of_speed) / variance


def test_a_person_is_shown_until_a_detection_misses_them():
    """In real time until two have: each of them is half a second apart."""
    for realtime, after in ((False, [0, 0]), (True, [1, 0])):
        people = collector(realtime=realtime)
        see(people, 0.0, 0.1)
        see(people, 0.5, 0.2)
        (shown,) = people.shown_at(1.0)  # moving on
        left = 0.1 + 0.1 * share_of_step(0.5)
        np.testing.assert_allclose(shown.box, [left, 0.2, left + 0.2, 0.8], atol=1e-6)
        assert [len(people.shown_at(second)) for second in (1.7, 1.8)] == [1, 0]  # up to max_gap
        see(people, 1.0)
        assert [len(people.shown_at(second)) for second in (1.4, 1.6)] == after
