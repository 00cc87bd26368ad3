"""What modist-det predict checks before any work, and what it warns of."""

from __future__ import annotations

import shutil
import socket
import time

import pytest
import torch

from modist_det.app.cli import main
from modist_det.config import get_cfg
from modist_det.puppets import CLASS_NAMES
from modist_det.structures.class_facts import ClassFacts


@pytest.fixture
def predict(tmp_path, monkeypatch, clip, capsys):
    """Run the command in an empty folder, without models anywhere; returns (status, output)."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("MODIST_DET_CACHE", tmp_path / "cache"), ("MODIST_MODELS", tmp_path / "none")):
        monkeypatch.setenv(name, str(value))

    def run(*words: object) -> tuple[int, str]:
        status = main(["predict", *map(str, words or [clip]), "--out", "out", "--no-video"])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


@pytest.mark.parametrize("listens", [True, False])
def test_without_a_network_all_that_is_missing_is_named_at_once(predict, monkeypatch, tmp_path, listens):
    """The way to both servers is a proxy that accepts and never answers, or one that is down."""
    monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
    if listens:
        monkeypatch.setattr("modist_det.inference.choose._PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        if not listens:
            server.close()
        began = time.monotonic()
        status, text = predict()
        assert time.monotonic() - began < 5  # two waits of 0.3 s at once, and a busy machine
    assert status == 1 and text.count("\n") == 1
    assert (
        "no action model: zoo://pyslowfast/slow_4x16_r50_ava22: dl.fbaipublicfiles.com cannot be reached"
        in text
    )
    assert "prepare_puppets.py" in text  # what to do
    assert (
        "no person detector: download.pytorch.org cannot be reached through the proxy http://127.0.0.1"
        in text
    )
    assert "no file FastestDet.onnx in" in text
    assert ("Connection refused" in text) != listens
    assert not (tmp_path / "out").exists()


def test_the_detector_is_looked_for_before_the_model_is_loaded(predict, detector_run, clip, monkeypatch):
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    monkeypatch.setattr("modist_det.inference.trained.build_model", None)
    status, text = predict(clip, "--model", detector_run)
    assert status == 1 and "no person detector: it is not in the cache, and MODIST_DET_OFFLINE" in text
    for place, reason in (
        ("a_yolox.onnx", "a_yolox.onnx does not exist"),
        ("http://127.0.0.1:9/a_yolox.onnx", "OFFLINE"),
    ):
        assert reason in predict(clip, "--model", detector_run, "--persons", place)[1]


def test_a_classifier_needs_no_person_detector(predict, classifier_run, clip, monkeypatch, tmp_path):
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    assert predict(clip, "--model", classifier_run)[0] == 0
    assert (tmp_path / "out" / "clip.json").is_file()


def test_results_must_have_a_place(predict, classifier_run, clip, monkeypatch, tmp_path):
    (tmp_path / "out").touch()
    monkeypatch.setattr("modist_det.inference.trained.build_model", None)
    status, text = predict(clip, "--model", classifier_run)
    assert status == 1 and f"there can be no folder out, since {tmp_path / 'out'} is a file" in text


def test_a_folder_without_videos_is_named_before_the_model(predict, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    status, text = predict("mine", "--model", "none")
    assert status == 1 and text == "error: mine has neither videos nor frames (.jpg, .jpeg, .png)\n"


def test_a_pretrained_backbone_predicts_nothing(predict, clip, tmp_path):
    (tmp_path / "c.yaml").write_text("TASK: pretraining\n")
    status, text = predict(clip, "--cfg", "c.yaml", "--checkpoint", "c.yaml")
    assert status == 1
    assert "c.yaml is for TASK pretraining" in text and "TASK detection or classification" in text


@pytest.mark.parametrize(
    ("iteration", "run", "steps"),
    [
        (7, {"samples": 20, "clips a step": 5}, "7 of 12 steps"),  # 4 steps an epoch, 3 epochs
        (12, {"samples": 20, "clips a step": 5}, ""),
        (7, {"samples": 20, "clips a step": "many"}, ""),
        (7, {}, ""),
    ],
)
def test_an_unfinished_training(predict, classifier_run, clip, tmp_path, iteration, run, steps):
    change_checkpoint(
        classifier_run, tmp_path, {"iteration": iteration, "run": run}, ["SOLVER.MAX_EPOCH", 3.0]
    )
    status, text = predict(clip, "--model", "run")
    assert status == 0
    assert (f"was saved after {steps} of its training; finish it with --resume" in text) == bool(steps)


def test_generated_people_say_little_about_others(predict, classifier_run, clip, tmp_path):
    names = dict(enumerate(name.capitalize() for name in CLASS_NAMES.values()))
    changes = {"class_facts": ClassFacts("classification", 12, names).to_dict()}
    for key, shape in (("head.projection.weight", (12, 32)), ("head.projection.bias", (12,))):
        changes[key] = torch.zeros(shape)
    change_checkpoint(classifier_run, tmp_path, changes, ["MODEL.NUM_CLASSES", 12])
    assert (
        "trained on generated people (Puppets), so what it says about" in predict(clip, "--model", "run")[1]
    )
    puppets = tmp_path / "puppets" / "videos"
    puppets.mkdir(parents=True)
    (puppets.parent / "tracks_val.json").touch()
    shutil.copy(clip, puppets)
    status, text = predict(puppets / clip.name, "--model", "run")
    assert status == 0 and "Puppets" not in text


def change_checkpoint(run, folder, changes, settings) -> None:
    """A copy of the run in ``folder/run`` with other entries or tensors, and settings."""
    path = shutil.copytree(run, folder / "run") / "checkpoints" / "model_0000007.pth"
    content = torch.load(path, weights_only=True)
    for key, value in changes.items():
        (content["model"] if key in content["model"] else content)[key] = value
    cfg = get_cfg()
    cfg.merge_from_text(content["config"], "it")
    cfg.merge_from_list(settings)
    content["config"] = cfg.dump()
    torch.save(content, path)
