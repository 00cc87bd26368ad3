"""``modist-det`` as a user types it, in this process."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from modist_det.app import recipe
from modist_det.app.cli import get_parser, main
from modist_det.app.find_data import FoundData
from modist_det.app.recipe import Machine, make_recipe
from modist_det.config import get_cfg
from modist_det.engine.arguments import run_net_parser
from modist_det.formats.annotations import read_annotations
from modist_det.modeling import build_model
from modist_det.utils.cache import available
from modist_det.utils.errors import UserError

TINY = (
    ["MODEL.RESNET3D.WIDTH", "4", "INPUT.NUM_FRAMES", "4", "INPUT.CROP_SIZE", "32"]
    + ["INPUT.MIN_SIZE_TRAIN", "[32, 32]", "INPUT.MIN_SIZE_TEST", "32", "DATALOADER.NUM_WORKERS", "0"]
    + ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"]
)


@pytest.fixture
def home(tmp_path, monkeypatch, clip):
    """A folder of two classes, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    for name in ("run", "walk"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(5):
            shutil.copy(clip, tmp_path / "clips" / name / f"{number}.mp4")
    return tmp_path


def test_from_a_folder_to_classes_of_a_new_video(home, capsys, clip):
    """Nothing is written by hand: train, evaluate, predict, export."""
    assert main(["train", "--data", "clips", "--epochs", "1", *TINY]) == 0
    text = capsys.readouterr().out
    assert "a folder per class, split by class, for classification; 8 videos to train on" in text
    assert text.count("start: random weights") == 1 and "MODIST_DET_OFFLINE" in text
    words = shlex.split(re.search("this is: python tools/run_net.py (.*)", text)[1])
    args = run_net_parser().parse_intermixed_args(words)
    cfg = get_cfg(args.cfg, args.overrides)
    assert cfg.MODEL.FRAME_DIFFERENCES and cfg.INPUT.NUM_FRAMES == 4
    assert "next: modist-det predict VIDEO --model output/clips" in text
    best = Path("output/clips/checkpoints/model_best.pth")
    assert cfg.SOLVER.BEST_METRIC == "auto" and best.is_file()
    assert (
        f"the best checkpoint on val is kept: {best}" in text
        and "in output/clips/checkpoints/model_best.pth" in text
    )

    assert main(["evaluate", "output/clips"]) == 0
    assert "--eval-only MODEL.WEIGHTS output/clips/checkpoints/model_" in capsys.readouterr().out
    assert main(["predict", str(clip), "--model", "output/clips", "--out", "found", "--no-video"]) == 0
    assert sorted(path.name for path in (home / "found").iterdir()) == ["clip.csv", "clip.json", "clip.png"]
    assert main(["export", "output/clips", "model.safetensors"]) == 0

    shutil.copytree("output/clips", "output/copy")
    written = Path("output/clips/inference/val_predictions.csv")
    written.unlink()
    assert main(["evaluate", "output/copy"]) == 0 and not written.exists()
    assert main(["evaluate", "output/copy", "--data", "output/clips/data/val.yaml"]) == 0
    assert {"inference", "on_val"} <= {path.name for path in Path("output/copy").iterdir()}

    assert main(["train", "--data", "clips", "--epochs", "1"]) == 1
    assert "output/clips has a run already; --resume continues it" in capsys.readouterr().err
    assert main(["train", "--data", "clips", "--resume", *TINY]) == 0


def test_check(home, capsys):
    assert main(["check", "clips"]) == 0
    text = capsys.readouterr().out
    assert "a folder per class" in text and "8 annotated, 8 found, 8 readable" in text
    (home / "clips" / "run" / "0.mp4").write_bytes(b"no video")
    assert main(["check", "clips"]) == 1


def test_check_takes_what_train_takes(home, capsys):
    (home / "t.yaml").write_text("format: class_folders\nvideos: clips\n")
    (home / "v.yaml").write_text("format: videos\nvideos: clips/run\n")
    (home / "c.yaml").write_text("TASK: classification\nDATASETS: {TRAIN: [t.yaml], TEST: [v.yaml]}\n")
    for data in ("t.yaml,v.yaml", "c.yaml"):
        assert main(["check", data]) == 0
        text = capsys.readouterr().out
        assert "10 annotated, 10 found, 10 readable" in text and "\nv\n5 videos" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--epochs", "3"],
            "--epochs is for data, and c.yaml is a config; set its key.*: SOLVER.MAX_EPOCH VALUE",
        ),
        (["--seed", "0"], "SEED VALUE"),
        (["--from", "scratch"], "--from is for data.*MODEL.WEIGHTS VALUE"),
        (["--out", "b"], "OUTPUT_DIR VALUE"),
    ],
)
def test_options_that_a_config_would_not_see(home, capsys, words, message):
    (home / "c.yaml").write_text("TASK: classification\n")
    assert main(["train", "--data", "c.yaml", *words]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_options_without_effect(home, capsys, clip, boxes, classifier_run, detector_run):
    for run, words, message in (
        (
            classifier_run,
            ["--max-seconds", "1", "--person-option", "a=1"],
            "leave out --person-option, --max-seconds",
        ),
        (detector_run, ["--window", "2"], "leave out --window, without effect on .*, which is for detection"),
    ):
        assert main(["predict", str(clip), "--model", str(run), *words]) == 1
        assert re.search(message, capsys.readouterr().err)
    assert main(["predict", "rtsp://127.0.0.1/a", "--model", str(classifier_run)]) == 1
    assert "is a camera or stream; a classifier takes video files" in capsys.readouterr().err


def test_the_name_of_a_run_is_that_of_the_folder(home, monkeypatch):
    (home / "clips").rename("clips.v2")
    monkeypatch.setattr("modist_det.app.cli._run_net", lambda words, args: 0)
    assert main(["train", "--data", "clips.v2"]) == 0
    assert (home / "output" / "clips.v2" / "recipe.yaml").is_file()


def test_the_seed_chooses_the_split_and_is_that_of_the_run(home, monkeypatch):
    runs = []
    monkeypatch.setattr("modist_det.app.cli._run_net", lambda words, args: runs.append(words) or 0)
    parts = set()
    for seed in range(4):
        assert main(["train", "--data", "clips", "--seed", str(seed), "--out", f"run{seed}"]) == 0
        assert runs[-1][2:] == (["SEED", str(seed)] if seed else [])
        parts.add((home / f"run{seed}" / "data" / "val.txt").read_text())
    assert len(parts) > 1  # one of 25 choices each time


def test_a_config_is_run_as_it_is(home, capsys):
    (home / "c.yaml").write_text("TASK: classification\nSOLVER: {MAX_EPOC: 1}\n")
    assert main(["train", "--data", "c.yaml"]) == 1
    assert "this is: python tools/run_net.py --cfg c.yaml" in (found := capsys.readouterr()).out
    assert "MAX_EPOC" in found.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--data", "nothing"], "there is no dataset named 'nothing'"),
        (
            ["train", "--data", "clips", "--from", "x3d_xs_k400"],
            "the model zoo has no such name; did you mean",
        ),
        (["train", "--data", "clips", "--out", "a.mp4"], "there can be no folder a.mp4"),
        (["train", "--data", "clips", "--resume"], "there is no run in output/clips to resume"),
        (["evaluate", "."], "is a folder without a checkpoint"),
        (["predict", "a.mp4", "--model", "none"], "does not exist"),
    ],
)
def test_a_mistake_is_one_line(home, capsys, words, message):
    (home / "a.mp4").touch()
    assert main(words) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_help_without_torch():
    code = (
        "import sys; from modist_det.app.cli import get_parser; get_parser()\n"
        "assert not {'torch', 'cv2', 'av'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"train", "predict", "evaluate", "export", "check", "doctor"} <= set(
        re.findall(r"^    (\w+)", get_parser().format_help(), re.MULTILINE)
    )


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert (
        f"torch {torch.__version__.partition('+')[0]}" in text
        and "h264" in text
        and "free shared memory" in text
    )


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("task", ["detection", "classification", "pretraining"])
@pytest.mark.parametrize("start", ["", "zoo"])
def test_recipes_are_configs_that_build(task, gpu, start, tmp_path):
    found = FoundData(task, "train.yaml", "", "test data")
    found.__dict__["size"] = 100
    name = recipe._PRETRAINED.get((task, gpu), "")
    config = make_recipe(found, Machine(4, gpu), f"zoo://{name}" if start and name else "", tmp_path)
    recipe.write_recipe(config, tmp_path / "recipe.yaml", found)
    cfg = get_cfg(str(tmp_path / "recipe.yaml"))
    assert cfg.DATASETS.TRAIN == ["train.yaml"] and cfg.DATALOADER.NUM_WORKERS == 3
    assert cfg.SOLVER.WARMUP_EPOCHS < cfg.SOLVER.MAX_EPOCH
    if task != "pretraining":
        cfg.MODEL.NUM_CLASSES = 5
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters()) > 1e5
    if start and name:
        assert {"x3d_xs": 4, "slow_8": 8}[name.split("/")[1][:6]] == cfg.INPUT.NUM_FRAMES
        assert not cfg.MODEL.FRAME_DIFFERENCES
        assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["MODEL"]["WEIGHTS"] == f"zoo://{name}"


def test_epochs_follow_the_amount_of_data(tmp_path):
    found = FoundData("classification", "t", "v", "test data")
    epochs = {}
    for size in (10, 200, 100_000):
        found.__dict__["size"] = size
        epochs[size] = make_recipe(found, Machine(2, False), "", tmp_path)["SOLVER"]["MAX_EPOCH"]
    assert epochs == {10: 200, 200: 40, 100_000: 5}


def test_weights_of_a_run_bring_their_network(classifier_run, tmp_path):
    found = FoundData("classification", "t", "v", "test data")
    found.__dict__["size"] = 100
    run = shutil.copytree(classifier_run, tmp_path / "run") / "checkpoints" / "model_0000007.pth"
    content = torch.load(run)
    content["config"] = content["config"].replace("FRAME_DIFFERENCES: false", "FRAME_DIFFERENCES: true")
    torch.save(content, run)
    config = make_recipe(found, Machine(2, False), str(run), tmp_path)
    assert config["MODEL"]["RESNET3D"]["WIDTH"] == 4 and config["INPUT"]["SAMPLING_RATE"] == 6
    assert config["MODEL"]["NUM_CLASSES"] == 0 and config["MODEL"]["FRAME_DIFFERENCES"]


def test_weights_also_bring_what_is_a_default(tmp_path):
    """A wide R50 at 256 pixels, although the recipe without weights is a narrow R18 at 112."""
    found = FoundData("detection", "t", "v", "test data")
    found.__dict__["size"] = 5
    config = make_recipe(found, Machine(2, False), "zoo://pyslowfast/slow_8x8_r50_k400", tmp_path)
    network = config["MODEL"]["RESNET3D"]
    assert (network["DEPTH"], network["WIDTH"], network["STEM_KERNEL"]) == (50, 64, [1, 7, 7])
    assert network["DILATE_RES5"] and config["INPUT"]["MIN_SIZE_TEST"] == 256
    solver = config["SOLVER"]
    assert solver["IMS_PER_BATCH"] == 5 and solver["BASE_LR"] == 0.01 * 8 / 16


class TestAvailable:
    """Whether a file could be downloaded, told within the time given."""

    def test_offline_and_cached(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path))
        monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
        assert "MODIST_DET_OFFLINE" in available("https://example.com/a.pth")
        (tmp_path / "example.com").mkdir()
        (tmp_path / "example.com" / "a.pth").touch()
        assert available("https://example.com/a.pth") == ""

    def test_servers(self, monkeypatch):
        """One that answers, if only that there is no such file, one that accepts and is silent, and a closed port."""
        monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as answering:
            threading.Thread(target=answering.serve_forever, daemon=True).start()
            assert available(f"http://127.0.0.1:{answering.server_port}/a.pth") == ""
            answering.shutdown()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.pth"
            began = time.monotonic()
            assert "127.0.0.1 cannot be reached: " in available(url, 0.2)
            assert 0.1 < time.monotonic() - began < 5
        assert "cannot be reached: [Errno 111] Connection refused" in available(url)

    def test_a_name_that_takes_for_ever(self, monkeypatch):
        monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        over = threading.Event()
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: over.wait(30) and [])
        began = time.monotonic()
        assert "within 0.2 s" in available("http://example.com/a.pth", 0.2)
        assert time.monotonic() - began < 5
        over.set()


def test_from_must_exist():
    with pytest.raises(UserError, match="--from pyslowfast/slow"):
        recipe.choose_start("classification", Machine(2, False), "pyslowfast/slow")


def test_annotate(tmp_path, monkeypatch, clip, boxes, detector_run, capsys):
    """Boxes come from a file, every half second."""
    monkeypatch.chdir(tmp_path)
    words = ["annotate", str(clip), "--model", str(detector_run), "--persons", str(boxes), "--min-score", "0"]
    assert main([*words, "--detect-every", "0.5", "--format", "coco-video", "--out", "pre"]) == 0
    assert "wrote 1 files of coco-video to pre" in capsys.readouterr().out
    (track,) = read_annotations(Path("pre/clip.json")).tracks
    assert track.video == "clip" and track.frames.tolist() == list(range(16))
    expected = [[4 + f, 16, 20 + f, 32] for f in range(16)]  # the bright square
    np.testing.assert_allclose(track.boxes, expected, atol=1.0)
    assert track.drawn.tolist() == [True] + [False] * 14 + [True]
    assert main([*words, "--format", "coco"]) == 1
    assert "unknown format 'coco'" in capsys.readouterr().err


def test_annotate_writes_only_what_this_run_detected(
    tmp_path, monkeypatch, clip, boxes, detector_run, classifier_run, capsys
):
    """The result of an earlier run stays as it is, but is not exported for a video that now fails."""
    monkeypatch.chdir(tmp_path)
    earlier = tmp_path / "pre" / "results" / "bad.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    words = ["annotate", "bad.mp4", str(clip), "--persons", str(boxes), "--out", "pre", "--model"]
    assert main([*words, str(detector_run)]) == 1
    said = capsys.readouterr()
    assert "wrote 1 files of cvat to pre" in said.out and "failed: " in said.err
    assert {path.name for path in (tmp_path / "pre").iterdir()} == {"results", "clip.xml"}
    assert earlier.read_text() == "{}"
    assert main([*words, str(classifier_run)]) == 1
    assert "is for TASK classification; name a model for TASK detection" in capsys.readouterr().err
