from __future__ import annotations

import numpy as np

from modist_det.structures.actions import ActionSegment, ClipActions, Tube, top_actions

TUBE = Tube(
    7,
    np.array([1.0, 2.0, 4.0]),
    np.array([[0, 0, 0.2, 0.2], [0.2, 0, 0.4, 0.2], [0.2, 0.4, 0.4, 0.6]], np.float32),
    (ActionSegment(3, 1.0, 2.0, 0.5), ActionSegment(1, 1.5, 3.0, 0.25)),
)


def test_the_box_at_a_time_is_interpolated_and_clamped():
    assert (TUBE.start, TUBE.end) == (1.0, 4.0)
    for second, box in (
        (0.0, [0, 0, 0.2, 0.2]),
        (1.25, [0.05, 0, 0.25, 0.2]),
        (2.0, [0.2, 0, 0.4, 0.2]),
        (3.5, [0.2, 0.3, 0.4, 0.5]),
        (9.0, [0.2, 0.4, 0.4, 0.6]),
    ):
        np.testing.assert_allclose(TUBE.box_at(second), box, atol=1e-6)
        assert TUBE.box_at(second).dtype == np.float32


def test_a_tube_by_action():
    tubes = TUBE.action_tubes()
    assert [(t.action, t.start, t.end, t.score) for t in tubes] == [(3, 1.0, 2.0, 0.5), (1, 1.5, 3.0, 0.25)]
    assert all(np.array_equal(tube.box_at(3.5), TUBE.box_at(3.5)) for tube in tubes)


def test_top_actions():
    scores = np.array([0.25, 0.5, 0.25, 0.125], np.float32)
    names = ["a", "b", "c", "d"]
    assert top_actions(scores, names, 3) == [("b", 0.5), ("a", 0.25), ("c", 0.25)]
    assert top_actions(scores, names, 9, min_score=0.25) == [("b", 0.5), ("a", 0.25), ("c", 0.25)]
    clip = ClipActions(
        np.zeros((1, 4), np.float32), scores[None], dict(zip((1, 2, 5, 9), names, strict=True))
    )
    assert clip.top(0, 1) == [("b", 0.5)]
