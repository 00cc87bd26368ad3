"""Models on the Hugging Face Hub, here a local server, as a user names them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import modist_det as md
from modist_det.app.cli import main
from modist_det.app.recipe import Machine, choose_start


@pytest.fixture
def on_hub(hub_server, classifier_run):
    checkpoint = classifier_run / "checkpoints" / "model_0000007.pth"
    hub_server.repos["org/clips"] = {"checkpoints/model_0000007.pth": checkpoint.read_bytes()}
    return hub_server


def test_load(on_hub, classifier_run, clip):
    model = md.load("hf://org/clips")
    assert repr(model).startswith("Model(hf://org/clips: classification")
    expected = md.load(classifier_run).predict(clip).classes.scores
    np.testing.assert_array_equal(model.predict(clip).classes.scores, expected)


def test_a_mirror(on_hub, tmp_path):
    """``HF_ENDPOINT`` names it."""
    environment = {**os.environ, "HF_ENDPOINT": on_hub.address, "HF_HOME": str(tmp_path / "home")}
    code = (
        "import modist_det.checkpoint; from modist_det.utils.paths import local_path; "
        "print(local_path('hf://org/clips'))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path / "home")) and "model_0000007.pth" in done.stdout, done.stderr


def test_predict(on_hub, clip, tmp_path, capsys):
    words = ["predict", str(clip), "--model", "hf://org/clips", "--no-video", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "classes: hf://org/clips on cpu" in capsys.readouterr().out
    assert (tmp_path / "out" / "clip.csv").is_file()


def test_export(on_hub, tmp_path):
    assert main(["export", "hf://org/clips", str(tmp_path / "clips.safetensors")]) == 0
    assert (tmp_path / "clips.safetensors").is_file()


def test_train_from_it(on_hub, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("jump", "run", "walk"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(2):
            shutil.copy(clip, tmp_path / "clips" / name / f"{number}.mp4")
    words = ["train", "--data", "clips", "--from", "hf://org/clips", "--epochs", "0.1"]
    small = ["DATALOADER.NUM_WORKERS", "0", "INPUT.CROP_SIZE", "32", "INPUT.MIN_SIZE_TRAIN", "[32, 32]"]
    assert main([*words, *small]) == 0
    text = capsys.readouterr().out
    assert "tensors from hf://org/clips (format modist_det)" in text
    assert "WEIGHTS: hf://org/clips" in (tmp_path / "output" / "clips" / "recipe.yaml").read_text()
    assert choose_start("detection", Machine(2, False), "hf://org/clips") == "hf://org/clips"
