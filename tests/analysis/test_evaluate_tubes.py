from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from modist_det.analysis.tubes import ActionTube, best_poses, evaluate_tubes, read_puppets_tracks
from modist_det.inference import KeyframeActions, VideoActions, VideoHeader
from modist_det.puppets.labels import CLASS_NAMES
from modist_det.utils.errors import UserError


def tube(action: int, start: float, end: float, x: float = 0.2, score: float = 1.0) -> ActionTube:
    times = np.array([start, end])
    return ActionTube(action, start, end, times, np.array([[x, 0.2, x + 0.2, 0.6]] * 2, np.float32), score)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [(tube(1, 0, 2), 1), (tube(1, 1, 3), 1 / 3), (tube(1, 1, 3, x=0.3), 1 / 9), (tube(1, 2, 3), 0)],
)
def test_iou_by_hand(other, overlap):
    """Intersection and union of times, times the IoU of boxes, which is 1/3 where one is moved by half its width."""
    for threshold in (overlap - 0.001, overlap + 0.001):
        if threshold > 0:
            found = evaluate_tubes({"v": [tube(1, 0, 2)]}, {"v": [other]}, min_iou=threshold)
            assert found["tube_recall"] == (threshold < overlap)


def test_figures_by_hand():
    truth = {"v": [tube(1, 0, 2), tube(2, 0, 1), tube(1, 0, 2, x=0.7), tube(3, 0, 0.1)]}
    claimed = {"v": [tube(1, 0, 2), tube(1, 0.1, 1.9, score=0.9), tube(2, 0.8, 3)]}
    found = evaluate_tubes(truth, claimed)
    # The second claims what the first has found; the third is too short in common; the short truth does not count.
    assert (found["tubes"], found["true_tubes"]) == (3, 3)
    assert found["tube_precision"] == pytest.approx(1 / 3)
    assert found["tube_recall"] == pytest.approx(1 / 3)
    # Moments 0, 0.1 ... of the claims: 21 and 19 of action 1, 23 of action 2; right are 21 and 3 (0.8, 0.9, 1.0).
    assert found["time_precision"] == pytest.approx(24 / (21 + 19 + 23), abs=0.03)
    assert found["time_recall"] == pytest.approx(24 / (21 + 11 + 21 + 2), abs=0.03)
    with pytest.raises(UserError, match="no ground truth for video w"):
        evaluate_tubes(truth, {"w": []})


def test_best_poses_by_hand():
    """Person 4 walks, then runs, and is said to walk, with a louder gesture; person 5 is nobody."""
    truth = [tube(2, 0, 1), tube(3, 1.1, 2), tube(8, 0, 2), tube(1, 0, 2, x=0.7)]
    scores = np.zeros((2, 12), np.float32)
    scores[:, 1], scores[:, 7] = 0.4, 0.9
    boxes = np.array([[0.2, 0.2, 0.4, 0.6], [0.5, 0.2, 0.6, 0.6]], np.float32)
    keyframes = tuple(
        KeyframeActions(second, boxes, np.ones(2, np.float32), np.array([4, 5]), scores)
        for second in (0.5, 1.0, 1.5, 3.0)
    )
    found = VideoActions(VideoHeader("v", 64, 48, CLASS_NAMES), keyframes, (), 4.0, 40)
    assert best_poses(truth, found) == {4: [True, True, False]}


def test_truth_found_by_itself(tiny_puppets):
    truth = read_puppets_tracks(tiny_puppets / "tracks_val.json")
    assert sum(map(len, truth.values())) > 3
    found = evaluate_tubes(truth, truth)
    assert (
        found["tube_precision"] > 0.5
        and found["tube_recall"] == found["time_precision"] == found["time_recall"] == 1
    )
    wrong = {video: [replace(t, action=t.action % 12 + 1) for t in tubes] for video, tubes in truth.items()}
    assert evaluate_tubes(truth, wrong)["time_precision"] < 0.5


def test_truth_of_a_person(tmp_path):
    """Ten frames a second; somebody stands, then walks, waves all the time and is hidden at frames 4 and 5."""
    boxes = [[0, 0, 10, 20]] * 4 + [None] * 2 + [[0, 0, 10, 20]] * 4
    person = {"boxes": boxes, "segments": [{"end": 0.3, "actions": [1, 8]}, {"end": 1.0, "actions": [2, 8]}]}
    video = {"video": "v", "width": 20, "height": 40, "fps": 10, "num_frames": 10, "people": [person]}
    (tmp_path / "t.json").write_text(json.dumps({"classes": {}, "videos": [video]}))
    found = [
        (t.action, round(t.start, 3), round(t.end, 3)) for t in read_puppets_tracks(tmp_path / "t.json")["v"]
    ]
    assert found == [(1, 0, 0.2), (2, 0.3, 0.3), (2, 0.6, 0.9), (8, 0, 0.3), (8, 0.6, 0.9)]
    video["people"][0]["boxes"] = boxes[:3]
    (tmp_path / "t.json").write_text(json.dumps({"classes": {}, "videos": [video]}))
    with pytest.raises(UserError, match="not a tracks file"):
        read_puppets_tracks(tmp_path / "t.json")
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(UserError, match="not a tracks file"):
        read_puppets_tracks(tmp_path / "t.json")
