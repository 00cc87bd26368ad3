from __future__ import annotations

import itertools

import numpy as np
import pytest

from modist_det.evaluation import frame_map, link_detections, nms_tubes, video_map
from modist_det.evaluation.matching import match_pairs
from modist_det.evaluation.protocols import eleven_point
from modist_det.structures.tables import BoxTable
from modist_det.utils.errors import UserError


def tube(video: str, label: str, first: int, last: int, x: float = 0.0, score: float = 1.0) -> dict:
    frames = np.arange(first, last + 1)
    boxes = np.array([[x, 0.0, x + 100, 100.0]] * len(frames))
    return {"video": video, "class": label, "frames": frames, "boxes": boxes, "score": score}


def box(frame: int, x: float, score: float = 1.0, label: str = "run") -> dict:
    return {"video": "v", "class": label, "frame": frame, "box": [x, 0, x + 100, 100], "score": score}


def test_overlap_of_tubes_by_hand():
    """Ten frames each, five of them shared, boxes with an IoU of 1/3: 1/9 of frames 1 to 15."""
    truth, found = [tube("v", "run", 1, 10)], [tube("v", "run", 6, 15, x=50)]

    def is_hit(threshold: float, protocol: str) -> bool:
        return video_map(truth, found, protocol, threshold)[f"{threshold:g}"]["mean"] > 0.5

    # Lengths without the extra frame: 4 of 14. With the extra pixel the IoU is 51/151.
    overlaps = {
        "recommended": 5 / 15 / 3,
        "multisports": 4 / 14 / 3,
        "act": 5 / 15 * 51 / 151,
        "yowo": 5 / 15 * 51 / 151,
    }
    for protocol, overlap in overlaps.items():
        assert is_hit(round(overlap - 1e-4, 4), protocol) and not is_hit(round(overlap + 1e-4, 4), protocol)


def test_tubes_that_share_one_frame():
    one = [tube("v", "run", 5, 5)]
    assert video_map(one, one, "recommended", 0.5)["0.5"]["mean"] == 1
    assert video_map(one, one, "act", 0.5)["0.5"]["mean"] == 1
    assert video_map(one, one, "yowo", 0.5)["0.5"]["mean"] == 0
    assert video_map(one, one, "multisports", 0.5)["0.5"]["mean"] == 0  # 0 / 0


def test_a_tube_with_holes():
    """Frames 1, 2, 4, 5 against 1 to 5: four of five."""
    whole, holes = tube("v", "run", 1, 5), tube("v", "run", 1, 5)
    for name in ("frames", "boxes"):
        holes[name] = np.delete(holes[name], 2, axis=0)
    for truth, found in ((whole, holes), (holes, whole)):
        assert video_map([truth], [found], thresholds=0.8)["0.8"]["mean"] == 1
        assert video_map([truth], [found], thresholds=0.81)["0.81"]["mean"] == 0
    assert video_map([holes], [holes], thresholds=1.0)["1"]["mean"] == 1
    with pytest.raises(UserError, match="from frame 1 to 5, but none at 3"):
        video_map([whole], [holes], "act")


def test_a_taken_box():
    """Two people side by side: the second detection is nearest to the person whom the first found."""
    truth, found = [box(1, 0), box(1, 30)], [box(1, 2, 0.9), box(1, 10, 0.8)]
    assert frame_map(truth, found)["0.5"]["mean"] == 1
    assert frame_map(truth, found, "act")["0.5"]["mean"] == 1
    for protocol in ("multisports", "yowo"):
        assert frame_map(truth, found, protocol)["0.5"]["mean"] == 0.5


def test_average_precision_by_hand():
    """Hit, miss, hit of three boxes."""
    truth = [box(1, 0), box(2, 0), box(3, 0)]
    found = [box(1, 0, 0.9), box(1, 300, 0.8), box(2, 0, 0.7)]
    assert frame_map(truth, found)["0.5"]["mean"] == pytest.approx(1 / 3 + 2 / 3 / 3)
    # Trapezoids from (0, 1): to (1/3, 1), (1/3, 1/2), (2/3, 2/3).
    assert frame_map(truth, found, "act")["0.5"]["mean"] == pytest.approx(1 / 3 + (1 / 2 + 2 / 3) / 2 / 3)
    eleven = frame_map(truth, found, "yowo")["0.5"]["per_class_11_point"]["run"]
    assert eleven == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


def test_classes_without_ground_truth_and_skipped_ones():
    truth = [tube("v", "run", 1, 20), tube("v", "basketball save", 1, 20)]
    found = [tube("v", "run", 1, 20), tube("v", "jump", 1, 20)]
    for protocol in ("recommended", "act"):
        result = video_map(truth, found, protocol, 0.5)["0.5"]
        assert result == {"mean": 0.5, "per_class": {"run": 1, "basketball save": 0, "jump": None}}
    yowo = video_map(truth, found, "yowo", 0.5)["0.5"]
    assert yowo["mean"] == pytest.approx(1 / 3, abs=1e-5) and yowo["per_class"]["jump"] == 0
    result = video_map(truth, found, "multisports", 0.5)["0.5"]
    assert result == {"mean": 1, "per_class": {"run": 1, "basketball save": None, "jump": None}}
    assert video_map(truth, found, thresholds=0.5, classes=["basketball save", "run"])["0.5"]["mean"] == 0.5
    with pytest.raises(UserError, match="'basketball save' is none of the 1 classes"):
        video_map(truth, found, classes=["run"])
    assert video_map(truth, [], thresholds=0.5)["0.5"]["mean"] == 0
    assert video_map([], found, thresholds=0.5)["0.5"]["mean"] is None


def test_ranges_are_means():
    rng = np.random.default_rng(0)
    truth = [tube(f"v{i}", "run", 1, 10) for i in range(8)]
    found = [tube(f"v{i}", "run", 1, 10, x=float(rng.uniform(0, 60)), score=rng.random()) for i in range(8)]
    steps = {
        "0.5:0.95": np.arange(50, 100, 5),
        "0.05:0.45": np.arange(5, 50, 5),
        "0.1:0.9": np.arange(10, 100, 10),
    }
    for name, percents in steps.items():
        single = video_map(truth, found, thresholds=(percents / 100).tolist())
        expected = np.mean([entry["mean"] for entry in single.values()])
        assert 0 < expected < 1
        assert video_map(truth, found, thresholds=name)[name]["mean"] == pytest.approx(expected)


def test_all_forms_give_the_same():
    rng = np.random.default_rng(1)
    rows = [
        (f"v{v}", f, c, round(float(rng.random()), 6), (np.r_[xy, xy + 40]).tolist())
        for v, f, c in itertools.product(range(2), range(1, 6), ["jump", "run"])
        for xy in rng.integers(0, 60, (2, 2))
    ]
    video, frame, label, score, boxes = zip(*rows, strict=True)
    truth = [{"video": v, "class": c, "frame": f, "box": np.add(b, 8)} for v, f, c, _, b in rows[::2]]
    columns = {"video": video, "frame": frame, "class": label, "score": score, "box": boxes}
    expected = frame_map(truth, columns)
    assert 0 < expected["0.5"]["mean"] < 1
    forms = [
        {name: np.array(column) for name, column in columns.items()},
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        np.array(
            rows,
            [("video", "U4"), ("frame", int), ("class", "U8"), ("score", float), ("box", float, 4)],
        ),
    ]
    for form in forms:
        assert frame_map(truth, form) == expected
    nested: dict = {}
    for v, f, c, s, b in rows:
        scores = [s if c == name else 0.0 for name in ("jump", "run")]
        nested.setdefault(v, {}).setdefault(str(f), []).append({"box": b, "scores": scores})
    classes = ["jump", "run"]
    assert frame_map(truth, nested, classes=classes, best_class=True) == expected
    bare = {
        v: {f: [[*r["box"], 0.5, *r["scores"]] for r in rs] for f, rs in fs.items()}
        for v, fs in nested.items()
    }
    assert frame_map(truth, bare, classes=classes, best_class=True) == expected
    numbers = {name: number for number, name in enumerate(classes, 1)}
    table = BoxTable.of(
        "d", ["v0", "v1"], [int(v[1]) for v in video], np.array(frame) / 2, boxes, [numbers[c] for c in label],
        score, [-1] * len(rows), range(len(rows)),
    )  # fmt: skip
    half = [{**t, "class": numbers[t["class"]], "frame": t["frame"] * 500_000} for t in truth]
    assert frame_map(half, table)["0.5"]["mean"] == pytest.approx(expected["0.5"]["mean"])


def test_columns_of_tubes():
    tubes = [
        tube("v", "run", 1, 4, score=0.9),
        tube("v", "run", 3, 5, x=500, score=0.5),
        tube("w", "run", 1, 2),
    ]
    lengths = [len(t["frames"]) for t in tubes]
    columns = {
        "tube": np.repeat([7, 3, 3], lengths),
        "frame": np.concatenate([t["frames"] for t in tubes]),
        "box": np.concatenate([t["boxes"] for t in tubes]),
        **{name: np.repeat([t[name] for t in tubes], lengths) for name in ("video", "class", "score")},
    }
    mixed = {name: column[np.random.default_rng(0).permutation(9)] for name, column in columns.items()}
    assert video_map(tubes, mixed, thresholds=1.0)["1"]["mean"] == 1
    assert video_map(mixed, tubes[:2], "act", 0.99)["0.99"]["mean"] == pytest.approx(2 / 3)


def test_suppression_keeps_what_only_a_dropped_tube_overlaps():
    tubes = [tube("v", "run", 1, 10, x, s) for x, s in ((0, 0.9), (40, 0.8), (80, 0.7))]
    tubes += [tube("v", "jump", 1, 10, 0, 0.1), tube("w", "run", 1, 10, 0, 0.1)]
    assert nms_tubes(tubes, 0.3) == [tubes[0], *tubes[2:]]
    assert nms_tubes(tubes, 0.5) == tubes


@pytest.mark.parametrize("retry", [True, False])
def test_matching_all_at_once_is_matching_one_by_one(retry):
    rng = np.random.default_rng(2)
    for _ in range(200):
        n, m = rng.integers(1, 9, 2)
        overlap = rng.integers(0, 6, (n, m)) / 5
        rank = rng.permutation(n)
        i, j = (grid.ravel() for grid in np.meshgrid(range(n), range(m), indexing="ij"))
        expected, taken = np.full(n, -1), np.zeros(m, bool)
        for detection in np.argsort(rank):
            values = np.where(taken, -1, overlap[detection]) if retry else overlap[detection]
            best = values.argmax()
            if values[best] >= 0.4 and not taken[best]:
                taken[best], expected[detection] = True, best
        assert match_pairs(i, j, overlap.ravel(), rank, 0.4, retry).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        (
            [{"video": "v", "class": "run", "frame": 1, "box": [0, 0, 9, 9]}],
            "record 0 has .* but needs 'score'",
        ),
        ([box(1, 0), {**box(1, 0), "box": [0, 0, 9]}], "rows differ in length"),
        ([{**box(1, 0), "box": [0, 0, 9]}], "a box has 3 numbers"),
        ([box(1, 0, float("nan"))], "box, frame or score 0 is not finite"),
        ([{**tube("v", "run", 1, 3), "frames": [1, 2]}], r"boxes of shape \(3, 4\) for 2 frames"),
        ([{**tube("v", "run", 1, 3), "frames": [1, 3, 2]}], "not ascending"),
        ({"video": ["v"], "frame": [1], "box": [[0, 0, 9, 9]], "score": [1]}, "no column 'class'"),
        ({"v": [1, 2]}, "'v' is no dict"),
        ({"v": {1: [{"box": [0, 0, 9, 9], "scores": [1, 2]}]}}, "say which classes"),
        ([{**box(1, 0), "box": [0, 0, 0.5, 0.5]}], "look like fractions"),
        ([3], "record 0 is no dict"),
        ([{**box(1, 0), "video": ["v"]}], "detections: unhashable type"),
        ([{**box(1, 0), "frame": "first"}], "are not numbers"),
        ([box(1, 0), {**box(1, 0), "frame": -1e300}], r"frame -1e\+300 is beyond any video"),
        ({"v": {"first": []}, "w": {"x": [{}]}}, "detections: invalid literal"),
        ({"v": {1: 3}}, "detections: 'int' object is not iterable"),
        ([{**tube("v", "run", 1, 3), "frames": ["a", "b", "c"]}], "detections: could not convert"),
        ([{**tube("v", "run", 1, 3), "frames": [1, 2, float("nan")]}], "box, frame or score 2 is not finite"),
        ([{**tube("v", "run", 1, 3), "frames": [1, 2, 2.4]}], "not ascending"),
        ({name: [value] * 2 for name, value in {**box(7, 0), "tube": 1}.items()}, "rows 0 and 1 .* frame, 7"),
    ],
)
def test_malformed(detections, message):
    with pytest.raises(UserError, match=message):
        frame_map([], detections, "act")


@pytest.mark.parametrize(
    ("protocol", "only_best"), [("recommended", 0), ("act", 0), ("multisports", 1), ("yowo", 1)]
)
def test_whether_only_the_best_class_of_a_box_counts(protocol, only_best):
    truth = [{"video": "v", "class": "sit", "frame": 1, "box": [0, 0, 9, 9]}]
    found = [{"video": "v", "frame": 1, "box": [0, 0, 9, 9], "scores": [0.9, 0.8]}]
    for best_class, expected in ((None, 1 - only_best), (True, 0), (False, 1)):
        result = frame_map(truth, found, protocol, classes=["run", "sit"], best_class=best_class)
        assert result["0.5"]["per_class"]["sit"] == expected
    linked = link_detections(found, protocol, classes=["run", "sit"], min_length=1, scores="own_scores")
    assert [t["class"] for t in linked] == (["run"] if protocol == "multisports" else ["run", "sit"])


def test_eleven_points_by_hand():
    """Precision is 1 at recalls 0 and 0.1, and 2/3 at 0.2."""
    assert eleven_point(np.array([True]), 10) == pytest.approx(2 / 11)
    assert eleven_point(np.array([True, False, True]), 10) == pytest.approx((2 + 2 / 3) / 11)


def test_malformed_classes():
    for classes, message in (
        (["run", "run"], "occurs twice"),
        ([["run"]], "unhashable"),
        (3, "not iterable"),
    ):
        with pytest.raises(UserError, match=f"classes: .*{message}"):
            frame_map([], [], classes=classes)


def test_unknown_names():
    with pytest.raises(UserError, match="unknown protocol 'yolo'.*yowo"):
        frame_map([], [], "yolo")
    for threshold in ("0.5:1", 50, 0, None):
        with pytest.raises(UserError, match="is no number in"):
            frame_map([], [], thresholds=[threshold])
