"""A task outside the package that reads features instead of videos, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modist_det.engine.metrics import read_metrics
from tests.warm import run_program

HERE = Path(__file__).parent

CONFIG = """\
IMPORTS: [step_localization]
TASK: localization
MODEL: {{META_ARCHITECTURE: StepScorer}}
DATASETS: {{TRAIN: [{folder}/train], TEST: [{folder}/val]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 4, OPTIMIZER: adamw, BASE_LR: 0.02, MAX_EPOCH: 20}}
OUTPUT_DIR: {folder}/out
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Features of noise, in which the first number is higher by 3 while something happens."""
    folder = tmp_path_factory.mktemp("steps")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 5)):
        (folder / part).mkdir()
        for number in range(count):
            features = rng.normal(size=(rng.integers(20, 40), 8)).astype(np.float32)
            first = int(rng.integers(0, 10))
            after = int(rng.integers(first + 5, len(features)))
            features[first:after, 0] += 3
            np.save(folder / part / f"{number}.npy", features)
            (folder / part / f"{number}.json").write_text(json.dumps([[first, after]]))
    (folder / "steps.yaml").write_text(CONFIG.format(folder=folder))
    return folder


def test_it_learns_and_is_evaluated_again(folder, root) -> None:
    command = [root / "tools" / "run_net.py", "--num-gpus", "0", "--cfg", folder / "steps.yaml"]
    done = run_program(command, cwd=HERE)
    assert done.returncode == 0, done.stderr
    (result,) = [row for row in read_metrics(folder / "out" / "metrics.json") if "val/accuracy" in row]
    assert result["val/accuracy"] > 0.9  # always "yes" gives less than 0.7
    again = run_program([*command, "--eval-only"], cwd=HERE)
    assert again.returncode == 0, again.stderr
    assert f"{result['val/accuracy']:.4f}" in again.stdout + again.stderr


def test_an_empty_set_is_said_in_one_line(folder, root, tmp_path) -> None:
    command = [root / "tools" / "run_net.py", "--num-gpus", "0", "--cfg", folder / "steps.yaml"]
    done = run_program(
        [*command, "DATASETS.TRAIN", f"['{tmp_path}']", "OUTPUT_DIR", tmp_path / "o"], cwd=HERE
    )
    assert done.returncode == 1 and done.stderr == f"error: there is no file of features in {tmp_path}\n"
