"""Grad-CAM of checkpoints on a dataset, as a user runs it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from modist_det.analysis import attention
from modist_det.analysis.attention import compare_attention
from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.utils.errors import UserError
from tests.warm import run_program

_CONFIG = """\
MODEL:
  RESNET3D: {DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}
INPUT: {NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TEST: 48}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(_CONFIG)
    return path


@pytest.fixture
def checkpoint(config, tmp_path):
    cfg = get_cfg()
    cfg.merge_from_file(config)
    cfg.MODEL.NUM_CLASSES = 12
    torch.manual_seed(0)
    model = build_model(cfg)
    torch.save({"model": model.state_dict(), "config": cfg.dump(), "iteration": 1}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_command(config, checkpoint, tiny_puppets, tmp_path, root):
    command = [root / "tools/gradcam.py", "--cfg", config, "--data", tiny_puppets / "val.yaml"]
    out = tmp_path / "g.png"
    options = ["--keyframes", "5", "--shown", "2"]
    done = run_program([*command, "--weights", "", checkpoint, "--out", out, *options])
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    share, area, ratio = map(float, next(row for row in rows if row and row[0].endswith("a.pth"))[1:])
    assert 0 <= share <= 1 and 0 < area < 1 and ratio == pytest.approx(share / area, rel=0.02)
    # Two keyframes of 64x48; a frame and two maps each.
    assert cv2.imread(str(out)).shape == (2 * (22 + 180), 3 * 240, 3)
    done = run_program([*command, "--weights", checkpoint, "--out", tmp_path / "no.png", "--action", "wlak"])
    assert done.returncode == 1
    assert done.stderr == "error: dataset puppets_val has no class 'wlak'; did you mean 'walk'?\n"
    assert not (tmp_path / "no.png").exists()


def test_figures_of_a_class(config, checkpoint, tiny_puppets, tmp_path):
    cfg = get_cfg()
    cfg.merge_from_file(config)
    data = str(tiny_puppets / "val.yaml")
    plain, walk = (
        compare_attention(
            cfg, [checkpoint], data, tmp_path / f"{n}.png", num_keyframes=4, num_shown=1, action=a
        )
        for n, a in enumerate(("", "walk"))
    )
    assert plain.keys() == walk.keys() == {"a.pth"}
    assert not np.array_equal(cv2.imread(str(tmp_path / "0.png")), cv2.imread(str(tmp_path / "1.png")))
    with pytest.raises(UserError, match="a checkpoint was given twice"):
        compare_attention(cfg, [checkpoint, checkpoint], data, tmp_path / "x.png")
    with pytest.raises(UserError, match="cannot be written: it is a folder"):
        compare_attention(cfg, [checkpoint], data, tmp_path)
    cfg.TASK = "pretraining"
    with pytest.raises(UserError, match="the config is for TASK pretraining; give that of a detector"):
        compare_attention(cfg, [checkpoint], data, tmp_path / "x.png")


def test_metrics_are_those_of_the_keyframe(config, checkpoint, tiny_puppets, tmp_path, monkeypatch):
    """With maps that are even at the third of four frames and 0 elsewhere, a map's share on people is their area."""

    def at_the_keyframe(backbone, clip, score):
        maps = torch.zeros(len(clip), *clip.shape[2:])
        maps[:, 2] = 1
        return maps

    monkeypatch.setattr(attention, "grad_cam", at_the_keyframe)
    cfg = get_cfg(config)
    data = str(tiny_puppets / "val.yaml")
    metrics = compare_attention(cfg, [checkpoint], data, tmp_path / "g.png", num_keyframes=3, num_shown=1)
    share, area = metrics["a.pth"]
    assert share == pytest.approx(area) and 0 < area < 1
