"""Names that a spreadsheet would take for formulas."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from modist_det.evaluation import ClassificationEvaluator
from modist_det.utils.spreadsheet import as_text


@pytest.mark.parametrize("name", ["=1+1", "+49", "-1+2", "@SUM(A1)", "\t=1", "-2+3+cmd|' /C calc'!A0", "-x"])
def test_formulas(name):
    assert as_text(name) == "'" + name


@pytest.mark.parametrize("name", ["walk", "-5KQ66BBWC4", "a=b", "0.5", "läuft", "", "'=1"])
def test_other_text(name):
    assert as_text(name) == name


def test_predictions_and_confusions(tmp_path):
    evaluator = ClassificationEvaluator(["=HYPERLINK(1)", "@run"], tmp_path, "mine")
    batch = {"video_number": [0], "id": ["-5KQ66BBWC4"], "labels": np.array([[0, 1]])}
    evaluator.process(batch, [{"scores": torch.tensor([0.7, 0.3])}])
    evaluator.evaluate()
    for name in ("predictions", "confusion"):
        with (tmp_path / f"mine_{name}.csv").open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not any(cell.startswith(("=", "@")) for cell in cells)
        assert "'=HYPERLINK(1)" in cells and "'@run" in cells
