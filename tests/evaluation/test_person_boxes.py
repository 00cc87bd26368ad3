from __future__ import annotations

import math

import pytest

from modist_det.evaluation.person_boxes import evaluate_person_boxes
from modist_det.utils.errors import UserError

TRUTH = """\
v,1,0.1,0.1,0.3,0.5,1,1
v,1,0.1,0.1,0.3,0.5,2,1
v,1,0.6,0.1,0.9,0.9,1,2
v,2,0.2,0.2,0.4,0.6,1,1
v,3
"""


@pytest.fixture
def evaluate(tmp_path):
    def run(detections: str, truth: str = TRUTH, **options):
        (tmp_path / "g.csv").write_text(truth)
        (tmp_path / "d.csv").write_text(detections)
        return evaluate_person_boxes(tmp_path / "g.csv", tmp_path / "d.csv", **options)

    return run


def test_perfect(evaluate):
    found = evaluate("v,1,0.1,0.1,0.3,0.5,,0.9\nv,1,0.6,0.1,0.9,0.9,,0.8\nv,2,0.2,0.2,0.4,0.6,,0.7\n")
    assert found["AP"] == found["AP50"] == found["AR@100"] == pytest.approx(1.0)
    assert found["AR@1"] == pytest.approx(2 / 3)  # one box a keyframe finds two of three people
    assert (found["persons"], found["keyframes"], found["detections"], found["ignored"]) == (3, 3, 3, 0)
    recall = {row["min_score"]: (row["recall"], row["per_keyframe"]) for row in found["recall"]}
    assert recall[0.9] == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert recall[0.7] == (1.0, 1.0)


def test_by_hand(evaluate):
    """The best-scored box is wrong, then one of three people is found with IoU 0.6: hit, precision 1/2.

    COCO takes precision at recalls 0, 0.01 ... 1: up to 1/3 (34 of 101 points) it is 1/2, beyond it 0. IoU 0.6
    counts for three of the ten thresholds.
    """
    detections = "v,3,0,0,0.5,0.5,,0.95\nv,1,0.1,0.1,0.3,0.34,,0.9\nv,4,0,0,1,1,,0.5\n"
    found = evaluate(detections)
    assert found["AP50"] == pytest.approx(34 / 101 / 2)
    assert found["AP"] == pytest.approx(34 / 101 / 2 * 0.3, abs=1e-3)
    assert found["AP75"] == 0
    assert found["ignored"] == 1


def test_nothing(evaluate):
    found = evaluate("v,1\n")
    assert found["AP"] == 0 and found["detections"] == 0
    assert math.isnan(evaluate("v,3,0,0,1,1,,0.5\n", truth="v,3\n")["AP"])


def test_other_videos(evaluate):
    with pytest.raises(UserError, match=r"no keyframe of .* is in .* \(such as w,1, and v,1\)"):
        evaluate("w,1,0.1,0.1,0.3,0.5,,0.9\n")
