"""Generated ground truth and detections: sizes, limits, seeds, and that they mean something to the evaluator."""

from __future__ import annotations

import numpy as np

from modist_det.analysis.benchmark.synthetic import synthetic_detections, synthetic_ground_truth
from modist_det.evaluation.ava import evaluate_ava
from modist_det.formats.ava.files import (
    DETECTIONS,
    GROUND_TRUTH,
    LabelEntry,
    read_ava_boxes,
    scan_table,
    write_ava_boxes,
    write_detections,
)

LABELS = {number: LabelEntry(f"action {number}") for number in range(1, 81)}


def test_files_of_the_size_asked_for(tmp_path):
    truth = synthetic_ground_truth(num_boxes=300, num_keyframes=200, num_videos=7)
    detections = synthetic_detections(truth, num_detections=2000)
    write_ava_boxes(tmp_path / "truth.csv", truth)
    write_detections(tmp_path / "detections.csv", detections)
    read, problems = scan_table(tmp_path / "truth.csv", GROUND_TRUTH)
    assert not problems
    assert len(read) == 300
    assert len(np.unique(read.video)) == 7
    result = evaluate_ava(tmp_path / "truth.csv", tmp_path / "detections.csv", LABELS)
    assert result["num_keyframes"] == 200
    assert 0.1 < result["mAP"] < 0.9
    assert result["mAP"] == evaluate_ava(truth, detections, LABELS)["mAP"]
    found, problems = scan_table(tmp_path / "detections.csv", DETECTIONS)
    assert len(found) == 2000
    assert not problems


def test_the_seed_decides(tmp_path):
    def text(seed):
        write_ava_boxes(tmp_path / "x.csv", synthetic_ground_truth(50, 40, 3, seed=seed))
        truth = read_ava_boxes(tmp_path / "x.csv")
        write_detections(tmp_path / "y.csv", synthetic_detections(truth, 100, seed=seed))
        return (tmp_path / "x.csv").read_text() + (tmp_path / "y.csv").read_text()

    assert text(1) == text(1)
    assert text(1) != text(2)
