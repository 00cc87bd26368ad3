from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from modist_det.evaluation.ava import match_ava, metrics
from modist_det.evaluation.bootstrap import (
    RankedHits,
    _average_precisions,
    _interval,
    ava_hits,
    compare_hits,
    holm,
    interval_text,
    map_interval,
    tube_hits,
)
from modist_det.evaluation.protocols import FRAME_RULES
from modist_det.evaluation.tube_ap import compare_frames
from modist_det.formats.ava.files import LabelEntry
from modist_det.structures.tables import BoxTable
from modist_det.utils.errors import UserError


def generated(seed: int, num_videos: int = 30, quality: float = 1.0, classes: int = 2) -> RankedHits:
    """Ground truth depends on nothing but ``num_videos``, so that results can be compared."""
    counts = np.random.default_rng(99).integers(1, 5, (num_videos, classes))
    rng = np.random.default_rng(seed)
    video, label = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    found = rng.random(len(video)) < 0.8
    wrong = rng.integers(0, [[num_videos], [classes]], (2, 4 * num_videos))
    return RankedHits(
        tuple(f"class {c}" for c in range(classes)),
        tuple(f"video {v}" for v in range(num_videos)),
        np.concatenate([video[found], wrong[0]]),
        np.concatenate([label[found], wrong[1]]),
        np.concatenate([rng.normal(quality, 1, found.sum()), rng.normal(0, 1, wrong.shape[1])]),
        np.repeat([True, False], [found.sum(), wrong.shape[1]]),
        counts,
    )


@pytest.mark.parametrize("protocol", ["recommended", "act"])
def test_weights_are_repetitions(protocol):
    """AP of weighted videos is that of files in which the videos are repeated."""
    rules = FRAME_RULES[protocol]
    hits = dataclasses.replace(generated(0, 6), monotone=rules.monotone)
    weights = np.random.default_rng(1).integers(0, 3, (8, 6)).astype(float)
    found = _average_precisions(hits, weights, weights)
    for row, weight in enumerate(weights.astype(int)):
        for c in range(2):
            rows = np.flatnonzero(hits.label == c)
            rows = rows[np.argsort(-hits.score[rows], kind="stable")]
            repeated = np.repeat(hits.hit[rows], weight[hits.video[rows]])
            expected = rules.average_precision(repeated, int(weight @ hits.counts[:, c]))
            # Repeated hits are one step of the line, where the repeated file has several.
            assert found[row, c] == pytest.approx(expected, abs=1e-9 if rules.monotone else 0.02)


def test_interval():
    hits = generated(2)
    interval = map_interval(hits, 400)
    mean = np.mean([ap for ap, _, _ in interval["per_class"].values()])
    assert interval["mean"] == pytest.approx(mean)
    assert interval["low"] < mean < interval["high"] < interval["low"] + 0.4
    assert interval["videos"] == 30
    for ap, low, high in interval["per_class"].values():
        assert low < ap < high and high - low > interval["high"] - interval["low"]
    assert map_interval(hits, 400, level=0.5)["high"] < interval["high"]
    assert "95 % interval of the mAP: 0." in interval_text(interval)


def test_quantiles_are_centred_and_as_wide_as_students_t():
    """Resamples lie 0.05 above the estimate on average; their central 95 % are 0.19 wide."""
    low, high = _interval(np.linspace(0.4, 0.6, 1001) + 0.05, 0.5, 0.95, 50)
    assert low + high == pytest.approx(1)
    wider = stats.t.ppf(0.975, 49) / stats.norm.ppf(0.975) * np.sqrt(50 / 49)
    assert high - low == pytest.approx(0.19 * wider, rel=1e-3)


def test_more_videos_are_more_certain():
    widths = [
        (i := map_interval(generated(3, num_videos), 400))["high"] - i["low"] for num_videos in (20, 320)
    ]
    assert widths[1] < widths[0] / 2.5  # a quarter


def test_ends_are_possible_values():
    hits = generated(3, 5, quality=9.0)
    interval = map_interval(dataclasses.replace(hits, hit=hits.hit & (hits.video > 0)), 100)
    assert interval["mean"] < interval["high"] <= 1 and interval["low"] >= 0


def test_too_few_videos():
    assert map_interval(generated(0, 4)) is None
    assert "at least 5 videos" in interval_text(None)
    with pytest.raises(UserError, match="at least 5 videos, but there are 4"):
        compare_hits(generated(0, 4), generated(1, 4))


def test_equal_results():
    result = compare_hits(generated(4), generated(4), 200)
    assert result["difference"] == result["low"] == result["high"] == 0 and result["p"] == 1
    assert all(entry["p_corrected"] == 1 for entry in result["classes"].values())


def test_better_results():
    result = compare_hits(generated(5), generated(6, quality=5.0), 400)
    assert result["difference"] == pytest.approx(result["b"] - result["a"]) and result["low"] > 0
    assert result["p"] < 0.01
    p = sorted(entry["p"] for entry in result["classes"].values())
    corrected = sorted(entry["p_corrected"] for entry in result["classes"].values())
    assert corrected == [2 * p[0], max(2 * p[0], p[1])] and p[0] < 0.05
    back = compare_hits(generated(6, quality=5.0), generated(5), 400)
    assert back["difference"] == pytest.approx(-result["difference"])


def test_pairing_makes_differences_certain():
    """The same detections with a few mistakes more: certainly worse, although each result by itself is uncertain."""
    a = generated(7)
    worse = dataclasses.replace(a, score=np.where(a.hit & (a.video % 3 == 0), a.score - 0.5, a.score))
    result = compare_hits(a, worse, 400)
    assert result["high"] < 0 and result["p"] < 0.01
    interval = map_interval(a, 400)
    assert interval["low"] < result["b"]


def test_other_ground_truth():
    a, b = generated(0, 10), generated(1, 10)
    with pytest.raises(UserError, match="different ground truth"):
        compare_hits(a, dataclasses.replace(b, counts=b.counts + 1), 100)
    with pytest.raises(UserError, match="different classes"):
        compare_hits(a, generated(1, 10, classes=3), 100)


def test_videos_in_another_order():
    a, b = generated(8, 10), generated(9, 10)
    order = np.random.default_rng(0).permutation(10)
    moved = dataclasses.replace(
        b, videos=tuple(b.videos[v] for v in order), video=np.argsort(order)[b.video], counts=b.counts[order]
    )
    assert compare_hits(a, moved, 100) == compare_hits(a, b, 100)


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def test_frames_of_videos():
    box = [0, 0, 10, 10]
    truth = [{"video": f"v{i}", "class": "run", "frame": 1, "box": box} for i in range(6)]
    found = [{**entry, "score": 0.9 - i / 10} for i, entry in enumerate(truth[:4])]
    hits = tube_hits(compare_frames(truth, found), 0.5)
    assert map_interval(hits, 100)["mean"] == pytest.approx(4 / 6)


def test_ava():
    """Ties in score, too, are ranked as in the metric."""
    rng = np.random.default_rng(0)
    n, videos = 300, [f"v{i}" for i in range(8)]
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]])[rng.integers(0, 2, n)]
    columns = (rng.integers(0, 8, n), rng.integers(0, 9, n), boxes, rng.integers(1, 4, n))
    truth = BoxTable.of("t", videos, *(c[:100] for c in columns), np.ones(100), -np.ones(100), range(100))
    score = rng.integers(0, 5, n) / 5
    found = BoxTable.of("d", videos[::-1], *columns, score, -np.ones(n), range(n))
    matched = match_ava(truth, found, {c: LabelEntry(f"c{c}", "") for c in (1, 2, 3)})
    interval = map_interval(ava_hits(matched), 100)
    assert 0.05 < interval["mean"] < 0.95
    assert interval["mean"] == pytest.approx(metrics(matched)["mAP"])
