"""What AVA's evaluation says of files that can hardly be meant."""

from __future__ import annotations

import pytest

from modist_det.evaluation.ava import evaluate_ava
from modist_det.formats.ava.classes import AVA_CLASSES
from modist_det.formats.ava.files import LabelEntry

TRUTH = "a,902,0.1,0.1,0.5,0.9,1,0\nb,902,0.1,0.1,0.5,0.9,1,7\n"
FOUND = "a,902,0.1,0.1,0.5,0.9,1,0.9\nb,902,0.1,0.1,0.5,0.9,1,0.8\n"


@pytest.mark.parametrize(
    ("truth", "found", "excluded", "warnings"),
    [
        (TRUTH, FOUND, "", []),
        (TRUTH, FOUND.replace("0.9\n", "1\n").replace("0.8", "1.0"), "", []),  # perfect detections
        (TRUTH, TRUTH, "", ["d.csv: every score is a whole number, such as 0; this may be a file of ground"]),
        (
            TRUTH,
            FOUND.replace("b,", "B.mp4,"),
            "",
            ["d.csv: video 'B.mp4' is none of the ground truth, where it"],
        ),
        (
            TRUTH,
            FOUND.replace("b,", " b,"),
            "",
            ["d.csv: video ' b' is none of the ground truth, where it may be 'b'"],
        ),
        (TRUTH, FOUND + FOUND.replace("b,", "b.mp4,"), "", []),  # two videos, of which one is annotated
        (TRUTH, FOUND + FOUND.replace("b,", "c,"), "c,902\n", []),  # videos of a larger set
        (
            TRUTH,
            FOUND,
            "b.mkv,902\n",
            ["e.csv: video 'b.mkv' is none of the ground truth, where it may be 'b'"],
        ),
        (
            TRUTH + "a,902,0.1,0.1,0.5,0.9,5,0\n",
            FOUND,
            "",
            ["g.csv: 1 boxes did not count, since the label map does not name their classes: 5"],
        ),
    ],
)
def test_what_is_evaluated_but_can_hardly_be_meant(tmp_path, truth, found, excluded, warnings):
    for name, text in (("g", truth), ("d", found), ("e", excluded)):
        (tmp_path / f"{name}.csv").write_text(text)
    tables = (tmp_path / "g.csv", tmp_path / "d.csv")
    result = evaluate_ava(*tables, {1: LabelEntry("walk")}, tmp_path / "e.csv")
    assert len(result["warnings"]) == len(warnings)
    for said, expected in zip(result["warnings"], warnings, strict=True):
        assert expected in said


def test_avas_own_ground_truth_has_classes_that_are_not_evaluated(tmp_path):
    """80 classes are annotated, 60 evaluated: nothing to warn of."""
    (tmp_path / "g.csv").write_text("a,902,0.1,0.1,0.5,0.9,1,0\na,902,0.1,0.1,0.5,0.9,2,0\n")
    (tmp_path / "d.csv").write_text("a,902,0.1,0.1,0.5,0.9,1,0.9\n")
    labels = {number: LabelEntry(name) for number, name in AVA_CLASSES.items()}
    assert not evaluate_ava(tmp_path / "g.csv", tmp_path / "d.csv", labels)["warnings"]
