from __future__ import annotations

import numpy as np
import pytest

from modist_det.evaluation import tube_errors, video_map


def tube(label: str, first: int, last: int, x: float = 0, score: float = 1, video: str = "v") -> dict:
    frames = np.arange(first, last + 1)
    boxes = np.array([[x, 0.0, x + 100, 100.0]] * len(frames))
    return {"video": video, "class": label, "frames": frames, "boxes": boxes, "score": score}


# One true tube of each kind of error, in places of their own; the threshold is 0.5, its root 0.71.
TRUTH = [tube("run", 1, 10, x) for x in (0, 1000, 2000, 3000, 4000, 5000)]
FOUND = [
    tube("run", 1, 10, 0, 0.9),  # right
    tube("run", 1, 10, 10, 0.8),  # duplicate
    tube("run", 1, 10, 1040, 0.7),  # IoU 3/7: localization
    tube("run", 1, 4, 2000, 0.6),  # 4 of 10 frames: time
    tube("run", 1, 4, 3040, 0.5),  # both
    tube("run", 1, 10, 7000, 0.4),  # background
]


def test_kinds_by_hand():
    result = tube_errors([*TRUTH, tube("sit", 1, 10, 4000)], [*FOUND, tube("sit", 1, 10, 5000, 0.3)])
    ones = dict.fromkeys(("duplicate", "classification", "localization", "time", "background"), 1)
    assert result["count"] == {**ones, "time and localization": 1, "missed": 6}
    assert result["mAP"] == video_map([*TRUTH, tube("sit", 1, 10)], FOUND, thresholds=0.5)["0.5"]["mean"]


def test_what_is_lost_by_hand():
    """One class: AP is 1/6 as it is; ranks of hits after mending are written out."""
    result = tube_errors(TRUTH, FOUND)
    assert result["mAP"] == pytest.approx(1 / 6)
    lost = result["lost"]
    assert lost["duplicate"] == lost["background"] == lost["classification"] == 0
    assert lost["localization"] == pytest.approx(2 / 3 / 6)  # the third of the ranking is a hit
    assert lost["time"] == pytest.approx(2 / 4 / 6)
    assert lost["time and localization"] == pytest.approx(2 / 5 / 6)
    assert lost["missed"] == pytest.approx(1 - 1 / 6)


def test_a_wrong_class_gets_the_right_one():
    """Recall of "run" rises; the false positive of "sit" goes."""
    truth = [tube("run", 1, 10), tube("sit", 1, 10, video="w")]
    found = [tube("sit", 1, 10, score=0.9), tube("sit", 1, 10, score=0.8, video="w")]
    result = tube_errors(truth, found)
    assert result["mAP"] == pytest.approx(1 / 4) and result["count"]["classification"] == 1
    assert result["lost"]["classification"] == pytest.approx(3 / 4)


def test_only_one_of_two_errors_on_a_tube_is_mended():
    found = [tube("run", 1, 4, 0, 0.9), tube("run", 7, 10, 0, 0.8)]
    result = tube_errors([tube("run", 1, 10)], found)
    assert result["count"]["time"] == 2 and result["lost"]["time"] == pytest.approx(1)


def test_nothing_is_lost():
    result = tube_errors(TRUTH, TRUTH)
    assert result["mAP"] == 1 and not any(result["lost"].values()) and not any(result["count"].values())
