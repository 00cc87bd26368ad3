from __future__ import annotations

import itertools

import numpy as np
import pytest

from modist_det.evaluation import link_detections, trim_tubes
from modist_det.evaluation.linking import _runs
from modist_det.utils.errors import UserError


def row(frame: int, x: float, score: float, label: str = "run", video: str = "v") -> dict:
    return {"video": video, "class": label, "frame": frame, "box": [x, 0, x + 100, 100], "score": score}


def spans(tubes) -> list[tuple]:
    return sorted((t["frames"][0], t["frames"][-1], round(t["score"], 4)) for t in tubes)


@pytest.mark.parametrize("protocol", ["recommended", "act", "multisports", "yowo"])
def test_two_people_of_two_classes(protocol):
    rows = [
        row(f, x + f, s, c)
        for f in range(1, 21)
        for x, s, c in ((0, 0.9, "run"), (400, 0.6, "run"), (0, 0.5, "sit"))
    ]
    tubes = link_detections(rows, protocol, scores="own_scores")
    assert spans(tubes) == [(1, 20, 0.5), (1, 20, 0.6), (1, 20, 0.9)]
    for tube in tubes:
        start = 400 if tube["score"] == pytest.approx(0.6) else 0
        np.testing.assert_allclose(tube["boxes"][:, 0], start + np.arange(1, 21), rtol=1e-6)
        np.testing.assert_allclose(tube["scores_by_frame"], tube["score"], rtol=1e-6)


@pytest.mark.parametrize(("protocol", "most"), [("act", 4), ("recommended", 5), ("multisports", 0)])
def test_missed_frames(protocol, most):
    """ACT's tubes end at the fifth missed frame."""

    def link(missed: int) -> list[dict]:
        second = range(21 + missed, 41 + missed)
        return link_detections(
            [row(f, f, 0.5) for f in (*range(1, 21), *second)], protocol, scores="own_scores"
        )

    (tube,) = link(most)
    np.testing.assert_allclose(tube["boxes"][:, 0], np.arange(1, 41 + most), atol=1e-5)
    assert spans(link(most + 1)) == [(1, 20, 0.5), (22 + most, 41 + most, 0.5)]


def test_shortest_length():
    rows = [row(f, f, 0.5) for f in range(1, 16)]
    for protocol in ("act", "multisports"):
        assert len(link_detections(rows, protocol)) == 1
        assert link_detections(rows[1:], protocol) == []
        assert len(link_detections(rows[1:], protocol, min_length=14)) == 1


def test_published_scores_are_those_of_the_last_detection():
    rows = [row(f, 0, 0.9) for f in range(1, 16)] + [row(1, 0, 0.125, video="w")]
    assert spans(link_detections(rows, "multisports")) == [(1, 15, 0.125)]
    assert spans(link_detections(rows, "multisports", scores="own_scores")) == [(1, 15, 0.9)]


def test_weak_tubes_are_dropped():
    for protocol, least in (("act", 0.01), ("multisports", 0.005)):
        for score, count in ((0.9 * least, 0), (1.1 * least, 1)):
            rows = [row(f, 0, score) for f in range(1, 16)]
            assert len(link_detections(rows, protocol, scores="own_scores")) == count


def test_the_ten_best_of_a_frame_are_linked():
    rows = [row(f, 200 * k, 0.9 - k / 100) for f in range(1, 16) for k in range(12)]
    for protocol in ("act", "multisports"):
        tubes = link_detections(rows, protocol, scores="own_scores")
        assert [score for _, _, score in spans(tubes)] == pytest.approx([0.81 + k / 100 for k in range(10)])


def test_suppression_by_hand():
    """Boxes of 101 x 101 pixels, 40 and 10 apart: IoU (+1 pixel) 61/141 and 91/111."""
    rows = [row(f, x, s) for f in range(1, 16) for x, s in ((0, 0.9), (40, 0.8), (10, 0.7))]
    assert spans(link_detections(rows, "act")) == [(1, 15, 0.9)]
    softly = link_detections(rows, "multisports", scores="own_scores")
    assert spans(softly) == [(1, 15, round(0.7 * (1 - 91 / 111), 4)), (1, 15, 0.8), (1, 15, 0.9)]


def test_tubes_choose_in_the_order_of_their_mean_scores():
    """At frame 3 both tubes overlap the only box; the means are 0.5 and 0.6."""
    rows = [row(f, x, s) for f, x, s in ((1, 0, 0.9), (2, 0, 0.1), (1, 70, 0.6), (2, 70, 0.6), (3, 35, 0.5))]
    (tube,) = link_detections(rows, "act", min_length=3)
    assert tube["boxes"][:, 0].tolist() == [70, 70, 35]


def test_the_best_score_of_those_near_enough_continues_a_tube():
    rows = [row(1, 0, 0.9), row(2, 5, 0.3), row(2, -60, 0.8)]
    (tube,) = link_detections(rows, "act", min_length=2)
    assert tube["boxes"][:, 0].tolist() == [0, -60]


def test_best_paths_cover_the_video():
    """Frame 2 has no box, and frame 4 only one: after it is used there is no second path."""
    rows = [
        row(f, x, s) for f, x, s in ((1, 0, 0.2), (1, 300, 0.9), (3, 0, 0.3), (3, 300, 0.8), (4, 300, 0.7))
    ]
    (tube,) = link_detections(rows, "yowo", num_frames={"v": 6})
    assert tube["boxes"][:, 0].tolist() == [300] * 6
    np.testing.assert_allclose(tube["scores_by_frame"], [0.9, 0.9, 0.8, 0.7, 0.7, 0.7], rtol=1e-6)
    assert len(link_detections(rows[:4], "yowo", {"v": {"frames": 3}})) == 2
    with pytest.raises(UserError, match="has 3 frames, but there is a box at frame 4"):
        link_detections(rows, "yowo", num_frames={"v": 3})
    with pytest.raises(UserError, match="'v' has 1000000000000 frames; protocol 'yowo' links at most"):
        link_detections(rows, "yowo", num_frames={"v": 10**12})
    with pytest.raises(UserError, match="num_frames: invalid literal"):
        link_detections(rows, "yowo", num_frames={"v": "many"})
    with pytest.raises(UserError, match="no number for video 'v'"):
        link_detections(rows, "yowo", num_frames={"w": 3})


def test_best_path_is_the_best_of_all():
    """Sum of IoU + s + t + st / 2 over edges, by trying all paths."""
    rng = np.random.default_rng(0)
    places, scores = rng.uniform(0, 150, (4, 3)), rng.random((4, 3))
    rows = [row(f + 1, places[f, k], scores[f, k]) for f in range(4) for k in range(3)]
    first = link_detections(rows, "yowo")[0]

    def value(path) -> float:
        total = 0.0
        for f in range(3):
            shared = max(0.0, 100 - abs(places[f, path[f]] - places[f + 1, path[f + 1]]))
            s, t = scores[f, path[f]], scores[f + 1, path[f + 1]]
            total += shared / (200 - shared) + s + t + 0.5 * s * t
        return total

    best = max(itertools.product(range(3), repeat=4), key=value)
    np.testing.assert_allclose(first["boxes"][:, 0], [places[f, k] for f, k in enumerate(best)], rtol=1e-5)


def test_tubelets_are_averaged():
    """Two frames a tubelet; each moves by 2 pixels, and the second of its boxes is 1 pixel behind."""
    rows = []
    for f in range(1, 16):
        first = [2.0 * f, 0, 2.0 * f + 100, 100]
        rows.append({**row(f, 0, 0.5), "box": first + [2.0 * f + 1, 0, 2.0 * f + 101, 100]})
    (tube,) = link_detections(rows, "act")
    assert tube["frames"].tolist() == list(range(1, 17))
    inner = 2.0 * np.arange(2, 16) - 0.5
    np.testing.assert_allclose(tube["boxes"][:, 0], [2, *inner, 31])
    with pytest.raises(UserError, match="linked by protocol 'act'"):
        link_detections(rows, "recommended")


def test_trimming():
    """Action in frames 3 to 6 and 12 to 14; one weak frame within does not cut."""
    scores = np.array([0, 0, 8, 8, 1, 8, 0, 0, 0, 0, 0, 8, 8, 8, 0.0])
    frames = np.arange(1, 16)
    tube = {
        "video": "v",
        "class": "run",
        "score": 1,
        "frames": frames,
        "boxes": np.zeros((15, 4)),
        "scores_by_frame": scores,
    }
    parts = trim_tubes([tube], level=0.5, switch_cost=1.0)
    assert [(p["frames"][0], p["frames"][-1], p["score"]) for p in parts] == [(3, 6, 6.25), (12, 14, 8)]
    assert all(len(p["boxes"]) == len(p["frames"]) == len(p["scores_by_frame"]) for p in parts)
    with pytest.raises(UserError, match="no 'scores_by_frame'"):
        trim_tubes([{"frames": [1]}])


def test_trimming_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(60):
        gain, cost = rng.normal(0, 1, 7), rng.uniform(0, 2)

        def value(inside, gain=gain, cost=cost) -> float:
            starts = inside[0] + sum(b and not a for a, b in itertools.pairwise(inside))
            return float(np.dot(inside, gain) - cost * starts)

        best = max(itertools.product([False, True], repeat=7), key=value)
        runs = _runs(gain, cost)
        inside = np.zeros(7, bool)
        for start, end in runs:
            inside[start:end] = True
        assert inside.tolist() == list(best)


def test_names():
    with pytest.raises(UserError, match="as_published, own_scores"):
        link_detections([], "multisports", scores="mine")
    assert link_detections([], "act") == []
