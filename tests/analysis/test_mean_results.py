"""The mean of several runs' metrics."""

from __future__ import annotations

import json

import pytest

from modist_det.analysis.mean_results import mean_results, mean_table
from modist_det.utils.errors import UserError


@pytest.fixture
def runs(tmp_path):
    def write(name, *rows):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    first = [{"iteration": 5, "loss": 1.0}, {"iteration": 5, "h_split1_test/top1": 0.1}]
    last = {"iteration": 9, "h_split1_test/top1": 0.5, "h_split1_test/AP/run": 0.3, "h_split1_test/top5": 1.0}
    return [
        write("split1", *first, last),
        write("split2", {"iteration": 9, "h_split2_test/top1": 0.7}),
        write("split3", {"iteration": 9, "h_split3_test/top1": 0.9}),
    ]


def test_mean_and_spread_of_the_last_evaluations(runs):
    results = mean_results(runs)
    assert results == {
        "top1": {"mean": pytest.approx(0.7), "std": pytest.approx(0.2), "values": [0.5, 0.7, 0.9]}
    }
    lines = mean_table(results, runs).splitlines()
    assert lines[0].split() == ["metric", "mean", "std", "split1", "split2", "split3"]
    assert lines[2].split() == ["top1", "0.7000", "0.2000", "0.5000", "0.7000", "0.9000"]
    assert mean_results(runs[:1])["top5"] == {"mean": 1.0, "std": 0.0, "values": [1.0]}


def test_undefined_figures_are_left_out(runs):
    (runs[1] / "metrics.json").write_text(
        '{"iteration": 1, "a/top1": 0.7, "a/mAP": 0.2}\n{"iteration": 2, "a/top1": 0.7, "a/mAP": null}\n'
    )
    assert mean_results(runs).keys() == mean_results(runs[1:2]).keys() == {"top1"}
    (runs[1] / "metrics.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="split2/metrics.json has no metrics"):
        mean_results(runs)


def test_folders_that_are_no_runs(runs, tmp_path):
    with pytest.raises(UserError, match="nothing/metrics.json does not exist; give the OUTPUT_DIR"):
        mean_results([runs[0], tmp_path / "nothing"])
    with pytest.raises(UserError, match="split1 is given twice"):
        mean_results([runs[0], runs[1], tmp_path / "nothing/../split1"])
    (runs[1] / "metrics.json").write_text('{"iteration": 1, "loss": 1.0}\n')
    with pytest.raises(UserError, match="split2/metrics.json has no metrics"):
        mean_results(runs)
    (runs[1] / "metrics.json").write_text('{"iteration": 1, "a/top1": 1.0, "b/top1": 0.5}\n')
    with pytest.raises(UserError, match="top1 is on both a and b"):
        mean_results(runs)
    (runs[1] / "metrics.json").write_text('{"iteration": 1, "a/mAP": 1.0}\n')
    with pytest.raises(UserError, match="no metric in common"):
        mean_results(runs)
