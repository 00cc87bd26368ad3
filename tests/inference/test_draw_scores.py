"""From which score an action is drawn."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from modist_det.evaluation.ava import match_ava
from modist_det.evaluation.operating_points import read_thresholds, write_thresholds
from modist_det.formats.ava.files import LabelEntry
from modist_det.inference import Outputs
from modist_det.inference import run as run_module
from modist_det.inference.draw_scores import calibrated_scores
from modist_det.inference.pipeline import Shown
from modist_det.inference.stream import StreamFrame
from modist_det.inference.tubes import ShownPerson
from modist_det.structures.actions import VideoHeader, top_actions
from modist_det.utils.errors import UserError

NAMES = {1: "walk", 2: "run", 5: "fly"}


def evaluated(folder, name="val", scores=(0.6, 0.02)):
    """A run's folder after an evaluation; returns the path of a checkpoint, which is never opened.

    "walk" is right from its threshold up and wrong below, "run" is right everywhere, "fly" does not occur.
    """
    walk, run = scores
    (folder / "inference").mkdir(parents=True, exist_ok=True)
    truth, detections = folder / "g.csv", folder / "d.csv"
    truth.write_text("a,1,0,0,0.4,1,1\na,1,0.6,0,1,1,2\n")
    detections.write_text(
        f"a,1,0,0,0.4,1,1,{walk}\na,1,0.6,0,1,1,1,{walk - 0.1}\na,1,0.6,0,1,1,2,{run}\na,1,0,0,0.4,1,5,0.9\n"
    )
    matched = match_ava(truth, detections, {number: LabelEntry(name) for number, name in NAMES.items()})
    write_thresholds(folder / "inference" / f"{name}_thresholds.json", matched)
    return str(folder / "checkpoints" / "model_0000001.pth")


def test_the_file_has_the_highest_f1_of_each_class(tmp_path):
    evaluated(tmp_path)
    path = tmp_path / "inference" / "val_thresholds.json"
    assert read_thresholds(path) == {"walk": 0.6, "run": 0.02}
    row = json.loads(path.read_text())["classes"][0]
    assert row == {"id": 1, "name": "walk", "threshold": 0.6, "precision": 1.0, "recall": 1.0}
    path.write_text('{"classes": [{"name": "walk"}]}')
    with pytest.raises(UserError, match="not a file of thresholds"):
        read_thresholds(path)


def test_scores_of_a_run(tmp_path):
    checkpoint = evaluated(tmp_path)
    # 0.02 is raised to 0.1; "fly" has the median of 0.6 and 0.02.
    assert calibrated_scores(checkpoint, NAMES) == {1: 0.6, 2: 0.1, 5: pytest.approx(0.31)}
    assert calibrated_scores(checkpoint, {7: "run", 8: "walk"}) == {7: 0.1, 8: 0.6}  # by name
    assert calibrated_scores(checkpoint, {1: "sit"}) == {}
    evaluated(tmp_path, "other", (0.8, 0.3))
    os.utime(tmp_path / "inference" / "val_thresholds.json", (1, 1))
    assert calibrated_scores(checkpoint, NAMES)[1] == 0.8  # the newest evaluation


def test_other_checkpoints_have_none(tmp_path, monkeypatch):
    evaluated(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("zoo://slow_r50", "model.pth", str(tmp_path / "inference" / "model.pth")):
        assert calibrated_scores(name, NAMES) == {}


def test_each_class_has_its_own_minimum():
    scores = np.array([0.5, 0.4, 0.3], np.float32)
    assert top_actions(scores, ["a", "b", "c"], 2, np.array([0.6, 0.1, 0.1])) == [
        ("b", pytest.approx(0.4)),
        ("c", pytest.approx(0.3)),
    ]


@pytest.mark.parametrize(
    ("given", "calibrated", "drawn"),
    [
        (None, {1: 0.6, 2: 0.3}, ["run"]),
        (None, {}, ["walk", "run"]),
        (0.45, {1: 0.6}, ["walk"]),
        (0.0, {1: 0.6}, ["walk", "run", "fly"]),
    ],
)
def test_what_is_drawn(monkeypatch, given, calibrated, drawn):
    header = VideoHeader("v", 64, 48, NAMES, draw_scores=calibrated)
    found = []
    monkeypatch.setattr(run_module, "draw_overlay", lambda image, people, *_: found.extend(people))
    person = ShownPerson(1, np.array([0, 0, 1, 1], np.float32), np.array([0.5, 0.4, 0.05], np.float32))
    frame = StreamFrame(0, 0.0, np.zeros((48, 64, 3), np.uint8))
    run_module.Drawing(header, Outputs(min_score=given), (48, 64))(Shown(frame, [person]))
    assert [name for name, _ in found[0].actions] == drawn
