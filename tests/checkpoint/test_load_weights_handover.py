"""From our own runs: pretraining to detection, and averaged weights."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.settings import unlike_settings
from modist_det.config import get_cfg
from modist_det.modeling import build_model


def small_config(architecture: str):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.NUM_CLASSES = 3
    if architecture == "VideoClassifier":
        cfg.MODEL.HEAD.NAME = "ClassificationHead"
    for node in (cfg.MODEL.RESNET3D, cfg.MODEL.MOTION_PATHWAY):
        node.DEPTH, node.WIDTH = 18, 4
    cfg.MODEL.MODIST.QUEUE_SIZE = 8
    return cfg


@pytest.mark.parametrize("architecture", ["ActionDetector", "VideoClassifier"])
def test_the_visual_query_backbone_is_taken_and_nothing_else(tmp_path, architecture):
    torch.manual_seed(0)
    pretrained = build_model(small_config("MoDist"))
    with torch.no_grad():
        for parameter in pretrained.key.parameters():
            parameter += 1.0
    path = tmp_path / "model.pth"
    torch.save({"model": pretrained.state_dict(), "iteration": 7}, path)
    detector = build_model(small_config(architecture))
    head = {name: tensor.clone() for name, tensor in detector.head.state_dict().items()}
    report = load_weights(detector, path)
    source = pretrained.query["visual"].backbone.state_dict()
    assert len(report.loaded) == len(source)
    for name, tensor in detector.backbone.state_dict().items():
        assert torch.equal(tensor, source[name])
    for name, tensor in detector.head.state_dict().items():
        assert torch.equal(tensor, head[name])
    assert set(report.missing) == {f"head.{name}" for name in head}
    assert not report.unexpected and not report.mismatched
    dropped = {name.split(".")[0] for name, _ in report.dropped}
    assert dropped == {"query", "key", "queue"}
    assert not any(name.startswith("query.visual.backbone") for name, _ in report.dropped)


@pytest.mark.parametrize("averaged", [False, True])
def test_averaged_weights_are_taken_where_a_run_has_them(tmp_path, averaged):
    torch.manual_seed(0)
    first, second, target = (build_model(small_config("ActionDetector")) for _ in range(3))
    content = {"model": first.state_dict()}
    if averaged:
        content["ema"] = second.state_dict()
    torch.save(content, tmp_path / "model.pth")
    load_weights(target, tmp_path / "model.pth").require_complete()
    expected = (second if averaged else first).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in target.state_dict().items())


def test_a_setting_that_the_weights_do_not_show_is_named(tmp_path):
    """A stem with another stride has the same weights."""
    pretraining = small_config("MoDist")
    pretraining.MODEL.RESNET3D.STEM_STRIDE = [2, 2, 2]
    path = tmp_path / "model.pth"
    torch.save({"model": build_model(pretraining).state_dict(), "config": pretraining.dump()}, path)
    detection = small_config("ActionDetector")
    detection.MODEL.RESNET3D.DILATE_RES5 = True
    (line,) = unlike_settings(detection, load_weights(build_model(detection), path).config)
    assert line.startswith(
        "MODEL.RESNET3D.STEM_STRIDE is [1, 2, 2], but the weights were trained with [2, 2, 2]"
    )
    detection.MODEL.RESNET3D.STEM_STRIDE = [2, 2, 2]
    assert unlike_settings(detection, pretraining.dump()) == []
    assert unlike_settings(detection, "") == []


def test_each_setting_that_the_weights_do_not_show():
    changes = {
        "MODEL.SLOWFAST.ALPHA": 8,
        "MODEL.PIXEL_MEAN": [0.5, 0.5, 0.5],
        "MODEL.PIXEL_STD": [0.5, 0.5, 0.5],
        "MODEL.INPUT_FORMAT": "BGR",
        "MODEL.RESNET3D.POOL_AFTER_RES2": 2,  # of another backbone
    }
    here, there = small_config("ActionDetector"), small_config("ActionDetector")
    here.MODEL.BACKBONE.NAME = "SlowFast"
    there.merge_from_list([word for change in changes.items() for word in change])
    named = [line.split(" is ")[0] for line in unlike_settings(here, there.dump())]
    assert named == [*changes][:4]
    here.MODEL.BACKBONE.NAME = "ResNet3D"
    named = [line.split(" is ")[0] for line in unlike_settings(here, there.dump())]
    assert named == ["MODEL.RESNET3D.POOL_AFTER_RES2", *[*changes][1:4]]


def test_files_of_others_have_no_config(tmp_path):
    model = build_model(small_config("ActionDetector"))
    torch.save({"model_state": model.state_dict(), "cfg": "TASK: 1", "epoch": 3}, tmp_path / "model.pyth")
    assert load_weights(model, tmp_path / "model.pyth").config == ""
