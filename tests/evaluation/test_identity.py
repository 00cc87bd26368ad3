"""Identity switches and ID-F1 of cases counted by hand; the whole agrees with py-motmetrics (docs/VISUALIZATION.md)."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.evaluation.identity import track_metrics

LEFT, RIGHT = (0.0, 0.0, 0.2, 1.0), (0.5, 0.0, 0.7, 1.0)


def people(**boxes) -> tuple[list[int], np.ndarray]:
    return [int(name[1:]) for name in boxes], np.array(list(boxes.values())).reshape(-1, 4)


def test_one_person_in_two_tracks():
    frames = [(people(p1=LEFT), people(t7=LEFT))] * 2 + [(people(p1=LEFT), people(t8=LEFT))] * 2
    found = track_metrics([frames])
    # Two of four boxes have the id that the person has most; one switch.
    assert found["IDF1"] == 2 * 2 / (4 + 4) and found["switches"] == 1 and found["MOTA"] == 0.75
    assert found["precision"] == found["recall"] == 1 and found["boxes"] == 4


def test_two_people_swap():
    both = people(p1=LEFT, p2=RIGHT)
    frames = [(both, people(t1=LEFT, t2=RIGHT))] * 3 + [(both, people(t2=LEFT, t1=RIGHT))]
    found = track_metrics([frames])
    assert found["IDF1"] == 2 * 6 / (8 + 8) and found["switches"] == 2 and found["MOTA"] == 1 - 2 / 8


def test_misses_and_false_alarms():
    """Of four boxes one is not found, one is found with IoU 1/3; a box is where nobody is."""
    shifted = (0.1, 0.0, 0.3, 1.0)
    frames = [
        (people(p1=LEFT), people(t1=LEFT)),
        (people(p1=LEFT), people()),
        (people(p1=LEFT), people(t1=shifted)),
        (people(p1=LEFT), people(t1=LEFT)),
        (people(), people(t3=RIGHT)),
    ]
    found = track_metrics([frames])
    assert found["IDF1"] == pytest.approx(2 * 2 / (4 + 4)) and found["switches"] == 0
    assert (found["precision"], found["recall"]) == (0.5, 0.5) and found["MOTA"] == 1 - (2 + 2) / 4
    assert track_metrics([frames], min_iou=0.3)["recall"] == 0.75


def test_a_match_goes_on_beside_a_better_box():
    near = (0.0, 0.0, 0.26, 1.0)  # IoU 0.77
    frames = [(people(p1=LEFT), people(t1=LEFT)), (people(p1=LEFT), people(t1=near, t2=LEFT))]
    found = track_metrics([frames])
    assert found["switches"] == 0 and found["precision"] == pytest.approx(2 / 3)
    # As many matches as possible count more than the sum of IoUs.
    wide = (0.0, 0.0, 0.3, 1.0)
    both = people(p1=LEFT, p2=(0.12, 0.0, 0.32, 1.0))
    assert track_metrics([[(both, people(t1=LEFT, t2=wide))]], min_iou=0.3)["recall"] == 1


def test_ids_are_those_of_a_video():
    one = [(people(p1=LEFT), people(t1=LEFT))]
    other = [(people(p1=LEFT), people(t2=LEFT))]
    assert track_metrics([one, other])["switches"] == 0 and track_metrics([one, other])["IDF1"] == 1
    assert track_metrics([one + other])["switches"] == 1
    assert track_metrics([])["IDF1"] == 0
