"""Models on the Hugging Face Hub, here a local server, as a user names them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

import modist_det as md
from modist_det.app.cli import main
from modist_det.app.recipe import Machine, choose_start
from modist_det.config import get_cfg
from modist_det.utils.errors import UserError
from tests.hub_server import TOKEN


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


METRICS = [
    {"iteration": 3, "loss": 0.5, "lr": 0.1},
    {"iteration": 3, "val/top1": 0.5},
    {"iteration": 7, "val/top1": 0.125},  # evaluated again later
    {"iteration": 7, "val/top1": 0.625, "val/interval/top1/low": 0.31, "val/interval/top1/high": 0.86}
    | {"val/about": "8 videos; chance is 0.333"},
]


@pytest.fixture
def run(classifier_run, tmp_path):
    folder = shutil.copytree(classifier_run, tmp_path / "run")
    path = folder / "checkpoints" / "model_0000007.pth"
    state = torch.load(path, weights_only=True)
    cfg = get_cfg()
    cfg.merge_from_text(state["config"], "the config")
    cfg.merge_from_list(["DATASETS.TRAIN", ["/home/me/train.yaml"], "OUTPUT_DIR", "/home/me/out"])
    torch.save({**state, "iteration": 7, "config": cfg.dump()}, path)
    (folder / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in METRICS))
    return folder


@pytest.fixture
def logged_in(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_push_and_load_again(run, hub_server, logged_in, clip, capsys):
    assert main(["push", str(run), "hf://me/fights", "--private"]) == 0
    assert f"uploaded to {hub_server.address}/me/fights\n" in capsys.readouterr().out
    files = hub_server.repos["me/fights"]
    assert sorted(files) == ["README.md", "classes.json", "config.yaml", "metrics.json", "model.safetensors"]
    assert hub_server.private == {"me/fights"}
    model, before = md.load("hf://me/fights"), md.load(run)
    for name, tensor in before.predictor.model.state_dict().items():
        assert torch.equal(tensor, model.predictor.model.state_dict()[name])
    np.testing.assert_array_equal(
        model.predict(clip).classes.window_scores, before.predict(clip).classes.window_scores
    )
    assert model.class_names == before.class_names
    assert [c["name"] for c in json.loads(files["classes.json"])["classes"]] == ["jump", "run", "<b>walk</b>"]
    assert files["metrics.json"] == (run / "metrics.json").read_bytes()
    config = yaml.safe_load(files["config.yaml"])
    assert config["DATASETS"]["TRAIN"] == ["train.yaml"] and config["OUTPUT_DIR"] == "out"
    assert not any(b"/home/me" in content for content in files.values())


def test_the_card(run, hub_server, logged_in):
    assert md.push(run, "hf://me/fights") == f"{hub_server.address}/me/fights"
    text = hub_server.repos["me/fights"]["README.md"].decode()
    head, card = text.split("---\n")[1:]
    metadata = yaml.safe_load(head)
    assert metadata["library_name"] == "modist_det" and metadata["pipeline_tag"] == "video-classification"
    assert "action-classification" in metadata["tags"] and metadata["metrics"] == ["top1"]
    result = metadata["model-index"][0]["results"][0]
    assert (result["dataset"]["name"], result["metrics"][0]["value"]) == ("val", 0.625)
    assert 'print(md.load("hf://me/fights").predict("clip.mp4"))' in card
    assert re.search(r"\| val +\| top1 +\| 0.6250 \(0.3100 to 0.8600\) \|", card)  # of step 7, not of step 3
    assert "val: 8 videos; chance is 0.333" in card and "after 7 steps" in card
    assert re.search(r"\| 2 +\| &lt;b&gt;walk&lt;/b&gt; +\|", card)


def test_a_card_without_an_evaluation(run, hub_server, logged_in):
    (run / "metrics.json").write_text(json.dumps(METRICS[1]) + "\n")
    md.push(run, "hf://me/fights")
    card = hub_server.repos["me/fights"]["README.md"].decode()
    assert "The run recorded no evaluation of this checkpoint." in card and "model-index" not in card


def test_a_second_push_replaces_the_first(run, hub_server, logged_in):
    md.push(run, "hf://me/fights")
    md.push(run, "hf://me/fights", message="Again")
    assert len(hub_server.repos["me/fights"]) == 5


def test_what_push_refuses(run, hub_server, monkeypatch, tmp_path):
    for to, message in {
        "hf://me/fights/model.pth": "names more than a repository; push to hf://me/fights",
        "hf://me/fights@v1": "names more than a repository; push to hf://me/fights",
        "me/fights": "me/fights is not of the form hf://ORG/NAME",
        "hf://me/fights": "log in",
    }.items():
        with pytest.raises(UserError, match=message):
            md.push(run, to)
    with pytest.raises(UserError, match="without a checkpoint"):
        md.push(tmp_path, "hf://me/fights")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(
        UserError, match="hf://others/fights: 403 Forbidden: You don't have the rights"
    ) as caught:
        md.push(run, "hf://others/fights")
    assert "\n" not in str(caught.value)
    assert hub_server.repos == {}
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="http://127.0.0.1:9 cannot be reached"):
        md.push(run, "hf://me/fights")


def test_push_of_a_detector(detector_run, hub_server, logged_in, clip, boxes):
    md.push(detector_run, "hf://me/people")
    found = [
        md.load(name, persons=str(boxes)).predict(clip).actions for name in (detector_run, "hf://me/people")
    ]
    for one, other in zip(*(actions.keyframes for actions in found), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
    card = hub_server.repos["me/people"]["README.md"].decode()
    assert "An action detector: who does what" in card and re.search(r"\| 1 +\| jump +\|", card)
