"""Runs side by side."""

from __future__ import annotations

import json
import re

import pytest

from modist_det.analysis.compare_folders import compare_folders
from modist_det.app.cli import main
from modist_det.config import get_cfg
from modist_det.utils.errors import UserError


@pytest.fixture
def runs(tiny_puppets, tmp_path):
    """Two runs: one finds every box of the test set, the other one a third of them."""
    truth = (tiny_puppets / "train.csv").read_text().splitlines()
    for name, rate, mean, kept in (("slow", 0.1, 0.25, truth[::3]), ("fast", 0.2, 1.0, truth)):
        folder = tmp_path / name
        (folder / "inference").mkdir(parents=True)
        test = [str(tiny_puppets / "train.yaml")]
        settings = ["SOLVER.BASE_LR", rate, "OUTPUT_DIR", str(folder), "DATASETS.TEST", test]
        (folder / "config.yaml").write_text(get_cfg(overrides=settings).dump())
        rows = [
            {"iteration": 4, "puppets_train/mAP": 0.125},
            {"iteration": 8, "loss": 0.5, "lr": 0.1},
            {
                "iteration": 8,
                "puppets_train/mAP": mean,
                "puppets_train/about": "text",
                "puppets_train/AP/run": 0.75,
            },
        ]
        (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        scored = [",".join([*line.split(",")[:7], "0.9"]) + "\n" for line in kept]
        (folder / "inference" / "puppets_train_detections.csv").write_text("".join(scored))
    return tmp_path


def test_one_table_of_results_and_one_of_differences(runs, capsys):
    assert main(["compare", str(runs / "slow"), str(runs / "fast")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"result +slow +fast\n", text) and re.search(r"\nsteps +8 +8\n", text)
    assert re.search(r"\npuppets_train/mAP +0.25 +1\n", text)
    results, configs = text.split("config ")
    assert "about" not in text and "AP/run" not in results
    assert re.search(r"\nSOLVER.BASE_LR +0.1 +0.2\n", configs)
    assert "OUTPUT_DIR" not in text and "SOLVER.MOMENTUM" not in text


def test_significance_where_the_data_is_here(runs, tiny_puppets):
    text = compare_folders([runs / "slow", runs / "fast"])
    assert re.search(r"\nmAP +0\.\d+ +1\.0000 +\+0\.\d+", text)
    (runs / "fast" / "inference" / "puppets_train_detections.csv").unlink()
    text = compare_folders([runs / "slow", runs / "fast"])
    assert "\nmAP " not in text and re.search("unknown: .*fast has no results on puppets_train", text)


def test_significance_only_on_a_test_set_of_all_runs(runs):
    config = runs / "fast" / "config.yaml"
    config.write_text(config.read_text().replace("/train.yaml", "/val.yaml"))
    text = compare_folders([runs / "slow", runs / "fast"])
    assert "\nmAP " not in text and "significant" not in text


def test_results_on_other_data_and_runs_of_one_name(runs):
    """``evaluate --data`` writes into a folder of its own inside the run."""
    other = runs / "again" / "fast"
    (runs / "fast").rename(runs / "moved")
    other.parent.mkdir()
    (runs / "moved").rename(other)
    (runs / "slow").rename(runs / "fast")
    (other / "on_train").mkdir()
    (other / "inference").rename(other / "on_train" / "inference")
    text = compare_folders([runs / "fast", other])
    assert re.search(rf"result +{runs / 'fast'} +{other}\n", text)
    assert re.search(r"\nmAP +0\.\d+ +1\.0000 +\+0\.\d+", text)


def test_too_few_videos_for_significance(runs, tiny_puppets):
    for name in ("slow", "fast"):
        config = runs / name / "config.yaml"
        config.write_text(config.read_text().replace("/train.yaml", "/val.yaml"))
        (runs / name / "inference" / "puppets_val_detections.csv").write_text(
            (tiny_puppets / "val.csv").read_text()
        )
    assert "unknown: a comparison needs at least 5 videos, but there are 3" in compare_folders(
        [runs / "slow", runs / "fast"]
    )


def test_what_is_no_comparison(runs, tmp_path):
    with pytest.raises(UserError, match="two or more different run folders"):
        compare_folders([runs / "slow", runs / "slow"])
    with pytest.raises(UserError, match="config.yaml does not exist; give the output folders of runs"):
        compare_folders([runs / "slow", tmp_path / "nothing"])
    (runs / "fast" / "config.yaml").write_text("- a list\n")
    with pytest.raises(UserError, match="fast/config.yaml.*mapping"):
        compare_folders([runs / "slow", runs / "fast"])
