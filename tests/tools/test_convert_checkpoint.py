"""tools/convert_checkpoint.py as a user runs it, on small networks."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.reading import classes_inside, read_checkpoint
from modist_det.checkpoint.writing import write_weights
from modist_det.config import get_cfg
from modist_det.inference import ActionPredictor
from modist_det.inference.trained import stored_config
from modist_det.model_zoo import from_file
from modist_det.modeling import ActionDetector, RoIActionHead, VideoViT, build_backbone, build_model
from modist_det.modeling.losses import bce_with_logits
from modist_det.structures.class_facts import ClassFacts, parse_facts
from modist_det.utils.cli import run_cli
from modist_det.utils.errors import UserError

SMALL = """\
TASK: detection
MODEL:
  NUM_CLASSES: 3
  RESNET3D: {DEPTH: 18, WIDTH: 4, DILATE_RES5: True}
INPUT: {NUM_FRAMES: 2, MIN_SIZE_TEST: 32}
"""
FACTS = ClassFacts("detection", 3, {1: "walk", 3: "=läuft"}, {3: "PERSON_MOVEMENT"})


@pytest.fixture
def folder(tmp_path):
    """``run.pth`` is a checkpoint of a run, ``plain.pth`` a state dict, ``small.yaml`` the config of both."""
    (tmp_path / "small.yaml").write_text(SMALL)
    cfg = get_cfg()
    cfg.merge_from_file(tmp_path / "small.yaml")
    places = [
        "OUTPUT_DIR",
        "secret/out",
        "MODEL.WEIGHTS",
        "/secret/w.pth",
        "DATASETS.TRAIN",
        ["/secret/train.yaml"],
    ]
    cfg.merge_from_list(places)
    torch.manual_seed(0)
    state = build_model(cfg).state_dict()
    run = {
        "model": state,
        "config": cfg.dump(),
        "class_facts": FACTS.to_dict(),
        "iteration": 4,
        "optimizer": {},
    }
    torch.save(run, tmp_path / "run.pth")
    torch.save(state, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.write(tmp_path / "run.pth", "run.pth")
    return tmp_path


class _Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(root, folder, monkeypatch, capfd):
    """The tool in this process, which need not load torch again."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    monkeypatch.setenv("MODIST_DET_CACHE", str(folder / "cache"))
    tool = runpy.run_path(str(root / "tools" / "convert_checkpoint.py"))

    def run(*words) -> _Done:
        status = run_cli(tool["get_parser"](), tool["main"], words)
        return _Done(status, *capfd.readouterr())

    return run


def test_help_without_torch(root):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['convert_checkpoint.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(root / 'tools' / 'convert_checkpoint.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "zoo://pytorchvideo/slow_8x8_r50_k400" in done.stdout


def facts_in(path) -> tuple[dict, dict]:
    facts = classes_inside(read_checkpoint(path), str(path))
    assert facts is not None
    return facts.names, facts.types


def test_there_and_back_again(command, folder):
    done = command("run.pth", "their.pyth", "--to", "pyslowfast")
    assert done.returncode == 0, done.stderr
    assert "their.pyth: 122 tensors as pyslowfast" in done.stdout
    assert "cannot store the names of the 2 classes" in done.stdout
    done = command("their.pyth", "back.safetensors")
    assert done.returncode == 0, done.stderr
    assert "their.pyth: 122 tensors, format pyslowfast" in done.stdout
    cfg = get_cfg()
    cfg.merge_from_file(folder / "small.yaml")
    model = build_model(cfg)
    load_weights(model, folder / "back.safetensors").require_complete()
    expected = torch.load(folder / "plain.pth", weights_only=True)
    assert all(torch.equal(expected[name], tensor) for name, tensor in model.state_dict().items())


def test_config_and_class_names_go_along(command, folder):
    assert command("run.pth", "run.safetensors", "MODEL.HEAD.DROPOUT", "0.25").returncode == 0
    text = read_checkpoint(folder / "run.safetensors")["metadata"]["config"]
    cfg = get_cfg()
    cfg.merge_from_text(text, "it")
    assert (cfg.MODEL.RESNET3D.WIDTH, cfg.MODEL.HEAD.DROPOUT) == (4, 0.25)
    assert facts_in(folder / "run.safetensors") == (FACTS.names, FACTS.types)
    assert command("run.safetensors", "ours.pth", "--to", "modist_det").returncode == 0
    assert facts_in(folder / "ours.pth") == (FACTS.names, FACTS.types)
    # And is found there again.
    done = command("run.safetensors", "model.pt2", "--size", "32", "48")
    assert done.returncode == 0, done.stderr
    assert "model.pt2: clips of 2 frames 32x48, scores within" in done.stdout
    texts = {"class_facts.json": "", "config.yaml": ""}
    module = torch.export.load(str(folder / "model.pt2"), extra_files=texts).module()
    check_no_paths(folder / "model.pt2", texts["config.yaml"])
    assert parse_facts(texts["class_facts.json"], "it").names == FACTS.names
    scores = module(torch.zeros(1, 3, 2, 32, 48, dtype=torch.uint8), torch.tensor([[0, 1.0, 1, 20, 20]]))
    assert scores.shape == (1, 3)


def test_an_export_that_differs_is_not_written(command, folder, monkeypatch):
    monkeypatch.setattr("modist_det.export.convert.TOLERANCE", -1.0)
    (folder / "model.pt2").write_text("an older one")
    before = set(folder.iterdir())
    done = command("run.pth", "model.pt2", "--size", "32", "48")
    assert done.returncode == 1
    assert "differ from the model's by" in done.stderr and "model.pt2 was not written" in done.stderr
    assert (folder / "model.pt2").read_text() == "an older one" and set(folder.iterdir()) == before


def test_onnx(command, folder):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the packages of modist_det[export] are not installed")
    done = command("run.pth", "model.onnx", "--cfg", "small.yaml")
    assert done.returncode == 0, done.stderr
    assert "model.onnx: clips of 2 frames 32x32, scores within" in done.stdout
    assert done.stderr == ""
    metadata = importlib.import_module("onnx").load(folder / "model.onnx").metadata_props
    texts = {entry.key: entry.value for entry in metadata}
    assert parse_facts(texts["class_facts"], "it").names == FACTS.names
    check_no_paths(folder / "model.onnx", texts["config"])


def check_no_paths(exported, config: str) -> None:
    """Nothing in the file says where on this machine the run, its data, the package or torch are."""
    whole = exported.read_bytes()
    if zipfile.is_zipfile(exported):
        with zipfile.ZipFile(exported) as archive:
            whole = b"".join(map(archive.read, archive.namelist()))
    places = ("secret", str(exported.parent), str(Path(torch.__file__).parents[1]), "/modist_det/", '.py"')
    assert not [place for place in places if place.encode() in whole]
    cfg = get_cfg()
    cfg.merge_from_text(config, "it")  # what the network and its clips are is there
    assert (cfg.TASK, cfg.MODEL.RESNET3D.WIDTH, cfg.INPUT.NUM_FRAMES) == ("detection", 4, 2)


def test_a_run_folder_stands_for_its_last_checkpoint(command, folder):
    checkpoints = folder / "output/clips/checkpoints"
    checkpoints.mkdir(parents=True)
    (folder / "run.pth").rename(checkpoints / "model_0000004.pth")
    torch.save({"model": {}}, checkpoints / "model_0000002.pth")
    done = command("output/clips", "run.safetensors")
    assert done.returncode == 0, done.stderr
    expected = torch.load(folder / "plain.pth", weights_only=True)
    written = read_checkpoint(folder / "run.safetensors")["model"]
    assert all(torch.equal(tensor, written[name]) for name, tensor in expected.items())


def test_pretrained_backbone(command, folder):
    (folder / "pre.yaml").write_text(SMALL.replace("detection", "pretraining"))
    done = command("plain.pth", "backbone.pyth", "--to", "modist", "--cfg", "pre.yaml")
    assert done.returncode == 0, done.stderr
    names = torch.load(folder / "backbone.pyth", weights_only=True)["model_state"]
    assert all(name.startswith("encoder_q.s") for name in names)
    cfg = get_cfg()
    cfg.merge_from_file(folder / "small.yaml")
    load_weights(build_backbone(cfg), folder / "backbone.pyth").require_complete()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run.pth", "out.pyth"], "the format of out.pyth is unclear from its suffix: add --to"),
        (["run.pth", "out.pyth", "--to", "pyslowfst"], "did you mean 'pyslowfast'"),
        (["none.pth", "out.safetensors"], "none.pth does not exist"),
        (["plain.pth", "out.onnx"], "is unknown; give --cfg FILE"),
        (
            ["plain.pth", "out.pyth", "--to", "pytorchvideo"],
            "depend on the network's head and pooling; give --cfg",
        ),
        (["plain.pth", "out.safetensors", "MODEL.NUM_CLASSES", "4"], "has no config to change"),
        (["run.pth", "out.safetensors", "MODEL.NUM_CLASSES", "4"], "lacks tensors of the model"),
        (["run.pth", "out.safetensors", "MODEL.NUM_CLASS", "4"], "did you mean 'MODEL.NUM_CLASSES'"),
        (["run.pth", "out.pt2", "MODEL.META_ARCHITECTURE", "MoDist"], "only classifiers and detectors"),
        (["run.pth", "run.pth", "--to", "modist_det"], "run.pth is also the input; give another output file"),
        (["run.pth", "run.pth/out.pth", "--to", "modist_det"], "run.pth is not a folder"),
        (["run.pth", "out.safetensors", "--to", "safetensors", "MODEL.NUM_CLASS", "4"], "did you mean"),
        (["run.zip", "out.safetensors"], "run.zip is a zip archive of other files, not a checkpoint"),
        (["zoo://modist/maclr", "out.safetensors"], "MODIST_DET_OFFLINE forbids downloads"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(command, folder, words, message):
    done = command(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("*out.*"))


def test_a_video_transformer_needs_no_config(tmp_path):
    """VideoMAE's detector becomes our checkpoint, which predicts by itself."""
    torch.manual_seed(0)
    backbone = VideoViT(64, 2, image_size=224)
    model = ActionDetector(
        backbone, RoIActionHead([64], 80, 16), bce_with_logits, pixel_mean=[0.5] * 3, pixel_std=[0.2] * 3
    )
    write_weights(tmp_path / "vit.pth", model.state_dict(), "videomae")
    command = runpy.run_path("tools/convert_checkpoint.py")
    args = command["get_parser"]().parse_args(
        [str(tmp_path / "vit.pth"), str(tmp_path / "vit.safetensors"), "INPUT.MIN_SIZE_TEST", "64"]
    )
    command["main"](args)
    cfg = stored_config(tmp_path / "vit.safetensors")
    assert (cfg.TASK, cfg.MODEL.NUM_CLASSES, cfg.MODEL.VIDEO_VIT.DEPTH) == ("detection", 80, 2)
    assert (cfg.MODEL.HEAD.ROI_ALIGNED, cfg.MODEL.HEAD.BOX_EXTENSION) == (False, [0.1, 0.05])
    again = build_model(cfg)
    load_weights(again, tmp_path / "vit.safetensors").require_complete()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    video = torch.randint(0, 256, (3, 16, 64, 80), dtype=torch.uint8)
    predictor = ActionPredictor.from_checkpoint(tmp_path / "vit.safetensors")
    assert predictor.cfg.INPUT.NUM_FRAMES == 16 and len(predictor.class_names) == 60  # AVA names them
    batch = {"video": video[None], "boxes": [torch.tensor([[5.0, 5, 40, 60]])]}
    assert again.eval()(batch)[0]["scores"].shape == (1, 80)


def test_a_file_that_says_too_little_is_renamed_only(tmp_path):
    torch.save({"linear.weight": torch.ones(2, 2)}, tmp_path / "some.pth")
    with pytest.raises(UserError, match="does not follow from the file"):
        from_file(tmp_path / "some.pth")
