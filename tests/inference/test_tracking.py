from __future__ import annotations

import itertools

import numpy as np
import pytest

from modist_det.inference import PersonBoxes, Tracker
from modist_det.inference.tubes import find_segments, smooth_scores
from modist_det.structures.boxes import iou_matrix


def people(*boxes, scores=None) -> PersonBoxes:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return PersonBoxes(array, np.array(scores or [0.9] * len(array), np.float32))


def square(x: float, y: float = 0.4, side: float = 0.2) -> list[float]:
    return [x, y, x + side, y + side]


def ids_at(tracker: Tracker, second: float) -> dict[int, list[float]]:
    return {t.id: t.boxes[-1].round(3).tolist() for t in tracker.active if t.last == second}


def test_two_people_pass_each_other():
    """They meet in the middle, where overlap alone would let them swap."""
    tracker = Tracker()
    for step in range(21):
        second = step * 0.2
        left, right = square(0.04 * step), square(0.8 - 0.04 * step, y=0.45)
        # The detector gives them in any order.
        tracker.update(second, people(left, right) if step % 3 else people(right, left))
    found = ids_at(tracker, 4.0)
    assert len(found) == 2 and len(tracker.active) == 2
    xs = {t.id: (t.boxes[0][0], t.boxes[-1][0]) for t in tracker.active}
    assert sorted((round(float(a), 2), round(float(b), 2)) for a, b in xs.values()) == [
        (0.0, 0.8),
        (0.8, 0.0),
    ]


def test_a_gap_is_bridged_by_motion_and_interpolated():
    tracker = Tracker(max_gap=1.0)
    for step in (0, 1, 2, 3, 7, 8):  # unseen for 0.8 s, in which the person moves its own width and a half
        tracker.update(step * 0.2, people(square(0.05 + 0.06 * step)))
    (track,) = tracker.active
    box, _ = track.at(1.0)  # between 0.6 and 1.4
    np.testing.assert_allclose(box, square(0.05 + 0.06 * 5), atol=1e-6)
    assert track.at(1.7) is None
    assert track.at(1.7, hold=0.15) is not None


def test_a_double_box_starts_no_track():
    """85 % of it are inside the box of somebody who is tracked; who is half inside is new."""
    tracker = Tracker()
    tracker.update(0.0, people(square(0.3)))
    inner, outer = [0.33, 0.45, 0.53, 0.6], square(0.4)
    tracker.update(0.2, people(square(0.3), inner, outer))
    assert sorted(track.boxes[0].round(2).tolist() for track in tracker.active) == [
        pytest.approx(square(0.3)),
        pytest.approx(outer),
    ]


def test_a_box_where_somebody_was_is_no_double_box():
    tracker = Tracker()
    tracker.update(0.0, people(square(0.3)))
    tracker.update(0.2, people(square(0.31, side=0.06)))  # too small to be the same person, who is not seen
    assert [(track.id, track.last) for track in tracker.active] == [(1, 0.0), (2, 0.2)]


def test_speed_is_learned_from_noisy_boxes():
    """Steps of 0.05 with errors of 0.01: the prediction is nearer than the last step continued."""
    rng = np.random.default_rng(0)
    errors, naive = [], []
    for _ in range(50):
        tracker = Tracker()
        boxes = [np.array(square(0.05 * step)) + rng.normal(0, 0.01, 4) for step in range(10)]
        for step, box in enumerate(boxes):
            tracker.update(0.2 * step, people(box))
        (track,) = tracker.active
        errors.append(track.predict(2.0)[:2] + track.predict(2.0)[2:] - [1.2, 1.0])
        last = 2 * boxes[-1] - boxes[-2]
        naive.append(last[:2] + last[2:] - [1.2, 1.0])
    assert np.abs(errors).mean() < 0.8 * np.abs(naive).mean()


def test_predictions_are_those_of_least_squares():
    """One fit to all boxes: errors, first speed and acceleration between boxes, each by its standard deviation."""
    rng = np.random.default_rng(0)
    times = [0.0, 0.2, 0.5, 0.6, 1.1]
    boxes = np.array([square(0.1 * second) for second in times]) + rng.normal(0, 0.01, (5, 4))
    boxes = boxes.astype(np.float32)
    tracker = Tracker()
    # Rows of position and speed in terms of the unknowns: first position and speed, four accelerations.
    place, speed = np.eye(6)[:2]
    rows = [place / 0.05]
    for number, second in enumerate(times):
        tracker.update(second, people(boxes[number]))
        if number:
            passed, change = second - times[number - 1], np.eye(6)[number + 1]
            place = place + passed * speed + passed**2 / 2 * change
            speed = speed + passed * change
            rows.append(place / 0.05)
    rows += [np.eye(6)[1] / 0.5, *(np.eye(6)[2:] / 1.25)]
    wide = boxes.astype(np.float64)
    measured = np.hstack([(wide[:, :2] + wide[:, 2:]) / 2, wide[:, 2:] - wide[:, :2]])
    found = np.linalg.lstsq(np.array(rows), np.vstack([measured / 0.05, np.zeros((5, 4))]))[0]
    centre, size = (place + 0.4 * speed) @ found[:, :2], place @ found[:, 2:]  # constant size
    (track,) = tracker.active
    np.testing.assert_allclose(track.predict(1.5), [*(centre - size / 2), *(centre + size / 2)], atol=1e-9)


def test_a_long_gap_ends_the_track():
    tracker = Tracker(max_gap=0.5)
    tracker.update(0.0, people(square(0.3)))
    assert [t.id for t in tracker.update(0.75, people(square(0.3)))] == [1]
    assert [t.id for t in tracker.active] == [2]
    assert tracker.update(1.25, people(square(0.3))) == []  # just short enough
    assert [(t.id, t.last) for t in tracker.finish()] == [(2, 1.25)]


def test_weak_boxes_go_on_but_do_not_begin():
    tracker = Tracker(start_score=0.5)
    tracker.update(0.0, people(square(0.1), square(0.6), scores=[0.9, 0.2]))
    assert [t.id for t in tracker.active] == [1]
    tracker.update(0.2, people(square(0.6), square(0.1), scores=[0.2, 0.2]))
    (track,) = tracker.active
    assert len(track.times) == 2 and track.strong_hits == 1
    # A third of the union is enough for a strong box, and not for a weak one.
    for second, score in ((0.3, 0.2), (0.35, 0.9)):
        other = Tracker()
        other.update(0.0, people(square(0.1)))
        other.update(second, people(square(0.2), scores=[score]))
        assert len(other.active[0].times) == 1 + (score > 0.5)
    # A strong box of somebody else does not lose against the weak one.
    tracker.update(0.4, people(square(0.12), square(0.1), scores=[0.3, 0.8]))
    assert track.scores[-1] == pytest.approx(0.8)


def test_assignment_is_the_best_of_all():
    """Against all permutations."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        before = rng.uniform(0, 0.5, (4, 2))
        before = np.hstack([before, before + 0.4])
        after = before + rng.normal(0, 0.05, (4, 4))
        tracker = Tracker(min_iou=0.01)
        tracker.update(0.0, people(*before))
        tracker.update(1.0, people(*after))
        iou = iou_matrix(before.astype(np.float32), after.astype(np.float32))
        best = max(
            itertools.permutations(range(4)), key=lambda order: sum(iou[i, j] for i, j in enumerate(order))
        )
        if min(iou[i, j] for i, j in enumerate(best)) < 0.01:
            continue
        for i, j in enumerate(best):
            np.testing.assert_allclose(tracker.active[i].boxes[-1], after[j].astype(np.float32))


def test_time_goes_forward():
    tracker = Tracker()
    tracker.update(1.0, people(square(0.1)))
    with pytest.raises(ValueError, match="order of time"):
        tracker.update(1.0, people(square(0.1)))


def test_iou_by_hand():
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 0]], np.float32)
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(iou_matrix(a, b), [[1 / 7, 1, 0], [0, 0, 0]])


def test_segments_by_hand():
    """Keyframes every 0.5 s from 1 to 3, of a tube from 0.8 to 3.1; classes 4 and 7."""
    times = np.array([1.0, 1.5, 2.0, 2.5, 3.0])
    scores = np.array([[0.5, 0.1], [0.7, 0.1], [0.1, 0.9], [0.2, 0.3], [0.3, 0.2]], np.float32)
    found = find_segments(times, scores, 0.8, 3.1, [4, 7], 0.3)
    assert [(s.action, s.start, s.end, round(s.score, 4)) for s in found] == [
        (4, 0.8, 1.75, 0.6),
        (7, 1.75, 2.75, 0.6),
        (4, 2.75, 3.1, 0.3),
    ]
    assert find_segments(times[:0], scores[:0], 0.8, 3.1, [4, 7], 0.3) == ()


def test_segments_go_on_down_to_a_lower_score():
    """Of three runs of at least 0.2, the second never reaches 0.4; the others are one each, whatever dips they have."""
    times = np.arange(10) * 1.0
    column = np.array([0.2, 0.5, 0.3, 0.1, 0.3, 0.1, 0.4, 0.2, 0.6, 0.0], np.float32)
    found = find_segments(times, column[:, None], 0.0, 9.0, [1], min_score=0.4, keep_score=0.2)
    assert [(s.start, s.end) for s in found] == [(0.0, 2.5), (5.5, 8.5)]
    np.testing.assert_allclose([s.score for s in found], [1 / 3, 0.4], rtol=1e-6)
    assert len(find_segments(times, column[:, None], 0.0, 9.0, [1], min_score=0.4)) == 3


@pytest.mark.parametrize("half_life", [0.2, 1.0, 30.0])
def test_smooth_scores_are_weighted_means(half_life):
    """Against the sum over all pairs, at times that are not evenly spaced."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.1, 2.0, 40))
    scores = rng.random((40, 3)).astype(np.float32)
    weights = 0.5 ** (np.abs(times[:, None] - times) / half_life)
    expected = weights @ scores / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(smooth_scores(times, scores, half_life), expected, rtol=1e-5)
    np.testing.assert_array_equal(smooth_scores(times, scores, 0.0), scores)
    np.testing.assert_array_equal(smooth_scores(times[:1], scores[:1], half_life), scores[:1])
