"""tools/demo.py, detect_persons.py, evaluate_person_boxes.py and evaluate_tubes.py as a user runs them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import av
import cv2
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.utils.cli import run_cli
from modist_det.utils.errors import UserError


@pytest.fixture(scope="module")
def run_folder(tiny_puppets, tmp_path_factory):
    """What training leaves: a checkpoint with its config, of a tiny random model for Puppets."""
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.NUM_CLASSES", 12]
        + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
        + ["DATASETS.TEST", [str(tiny_puppets / "val.yaml")]]
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("home")
    checkpoints = folder / "output" / "tiny" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints.parent / "config.yaml").write_text(cfg.dump())
    torch.save(
        {"model": build_model(cfg).state_dict(), "config": cfg.dump()}, checkpoints / "model_0000001.pth"
    )
    (checkpoints / "last_checkpoint").write_text("model_0000001.pth\n")
    return folder


@pytest.fixture
def command(root, run_folder, monkeypatch, capsys):
    """Runs a tool in this process, which is much faster."""
    monkeypatch.chdir(run_folder)

    def run(tool, *words):
        spec = importlib.util.spec_from_file_location(tool.removesuffix(".py"), root / "tools" / tool)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        capsys.readouterr()
        parser = getattr(module, "get_parser", None) or module.parser
        status = run_cli(parser(), module.main, list(map(str, words)))
        return SimpleNamespace(returncode=status, **capsys.readouterr()._asdict())

    return run


def test_video_in_actions_out(command, tiny_puppets, run_folder):
    """Without naming a model: the run below output/. Then the files go through the tools that take them."""
    done = command("demo.py", tiny_puppets / "videos", "--persons", tiny_puppets / "tracks_val.json")
    assert done.returncode == 1  # the file has no boxes of the training videos
    assert "has no boxes of video 'train_0000'" in done.err and "Traceback" not in done.err
    out = run_folder / "output" / "demo"
    assert f"actions: {run_folder}" in done.out or "actions: output/tiny" in done.out
    assert "x real time" in done.out and "action model" in done.out
    names = {path.name for path in out.iterdir()}
    assert {"val_0000.mp4", "val_0000.json", "val_0000.csv", "val_0000.coco.json", "val_0000.png"} <= names
    assert not any(name.startswith("train") for name in names)
    with av.open(str(out / "val_0000.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
    sheet = cv2.imread(str(out / "val_0000.png"))
    assert sheet.std() > 20

    done = command("evaluate_tubes.py", "--truth", tiny_puppets / "tracks_val.json", "--results", out)
    assert done.returncode == 0, done.err
    assert "3 videos" in done.out and "recall" in done.out and "best pose:" in done.out
    done = command(
        *("evaluate_ava.py", "-l", tiny_puppets / "label_map.pbtxt", "-g", tiny_puppets / "val.csv"),
        *("-d", out / "val_0000.csv"),
    )
    assert done.returncode == 0, done.err
    assert "mAP@0.5 (official)" in done.out


def test_as_a_program(root, run_folder):
    (run_folder / "a.mp4").touch()
    line = [sys.executable, str(root / "tools" / "demo.py"), "a.mp4", "--persons", "x.csv"]
    done = subprocess.run(line, cwd=run_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: file of person boxes x.csv does not exist\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.mp4"], "none.mp4 does not exist"),
        (["a.mp4"], "cannot read video a.mp4: "),
        (["a.mp4", "--persons", "nobody"], "no person detector 'nobody'"),
        (["a.mp4", "--persons", "boxes.csv", "--checkpoint", "none.pth"], "none.pth does not exist"),
        (["a.mp4", "--keyframe-every", "0"], "keyframe_every is 0.0 s, but must be above 0"),
        (["a.mp4", "--smoothing", "nan"], "smoothing is nan s, but must be 0 or more"),
        (["a.mp4", "--person-option", "tiles"], "--person-option tiles is not of the form NAME=VALUE"),
    ],
)
def test_mistakes_are_one_line(command, run_folder, words, reason):
    (run_folder / "a.mp4").touch()
    (run_folder / "boxes.csv").write_text("a,0,0.1,0.1,0.5,0.9,,0.9\n")
    persons = [] if "--persons" in words or "--person-option" in words else ["--persons", "boxes.csv"]
    done = command("demo.py", *words, *persons, "--out", "nothing")
    assert done.returncode == 1
    assert done.err.strip().splitlines()[-1].startswith("error: ") and reason in done.err
    assert "Traceback" not in done.err
    assert not (run_folder / "nothing").exists()


def test_the_input_is_not_replaced(command, tiny_puppets, run_folder):
    path = run_folder / "val_0000.mp4"
    path.write_bytes((tiny_puppets / "videos" / "val_0000.mp4").read_bytes())
    done = command("demo.py", path, "--out", ".", "--persons", tiny_puppets / "tracks_val.json")
    assert done.returncode == 1 and "would be replaced" in done.err


def test_detect_and_evaluate_persons(command, tiny_puppets, real_data, run_folder):
    words = ("--persons", real_data / "models" / "FastestDet.onnx", "--out", "p.csv", "--num-shards", 2)
    done = command("detect_persons.py", tiny_puppets / "val.yaml", *words, "--shard", 1)
    assert done.returncode == 0 and "2 of 3 videos are still to be done" in done.out, done.err
    done = command("detect_persons.py", tiny_puppets / "val.yaml", *words)
    assert done.returncode == 0 and "wrote p.csv" in done.out, done.err
    done = command(
        "evaluate_person_boxes.py", "-g", tiny_puppets / "val.csv", "-d", "p.csv", "--json", "f.json"
    )
    assert done.returncode == 0 and "AP50" in done.out, done.err
    assert (run_folder / "f.json").is_file()
    done = command("detect_persons.py", tiny_puppets / "val.yaml", *words, "--shard", 2)
    assert done.returncode == 1 and "--shard 2 of 2 does not exist" in done.err


def test_options_reach_the_pipeline(root, monkeypatch):
    spec = importlib.util.spec_from_file_location("demo", root / "tools" / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    expected = {"keyframe_every": 1.0, "detect_every": 2.0, "smoothing": 3.0, "min_score": 0.3}
    expected |= {"keep_share": 0.6, "batch_size": 7, "realtime": True}

    def check(**settings):
        assert settings == expected
        raise UserError("as expected")

    monkeypatch.setattr("modist_det.inference.PipelineSettings", check)
    numbers = {name: value for name, value in expected.items() if name != "realtime"}
    words = [word for name, value in numbers.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(UserError, match="as expected"):
        demo.main(demo.get_parser().parse_args(["a.mp4", "--realtime", *words]))
