"""Exported networks give the scores of the models, whatever the batch and the number of boxes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from modist_det.export import TOLERANCE, check_onnx, check_program, export_onnx, export_program
from modist_det.export.networks import fold_norms
from modist_det.modeling import (
    X3D,
    ACARHead,
    ActionDetector,
    ClassificationHead,
    Hiera,
    MViT,
    ResNet3D,
    RoIActionHead,
    SlowFast,
    VideoClassifier,
    VideoViT,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError

CLIP = (8, 48, 64)
BATCHES = [(1, 1), (2, 4), (4, 0)]


def _detector(backbone, **options) -> ActionDetector:
    torch.manual_seed(0)
    head = RoIActionHead(backbone.out_channels, 5, backbone.spatial_stride, init_std=0.5, **options)
    return ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3).eval()


def _classifier(backbone, input_format: str = "RGB") -> VideoClassifier:
    torch.manual_seed(0)
    head = ClassificationHead(backbone.out_channels, 5, window=1, init_std=0.5)
    normalization = ([0.4, 0.45, 0.5], [0.2, 0.225, 0.25], input_format)
    return VideoClassifier(backbone, head, cross_entropy, *normalization).eval()


MVIT = {"dim_mul": [(1, 2)], "head_mul": [(1, 2)], "pool_q_stride": [(0, 1, 1, 1), (1, 1, 2, 2)]}

MODELS = {
    "detector": lambda: _detector(ResNet3D(18, 8, dilate_res5=True)),
    "detector, not aligned": lambda: _detector(
        ResNet3D(18, 8), aligned=False, sampling_ratio=2, resolution=3
    ),
    "SlowFast detector": lambda: _detector(SlowFast(18, 8, dilate_res5=True)),
    "Hiera detector": lambda: _detector(Hiera((8, 64, 64), 8, stages=(1, 1, 1, 1), map_stage=3)),
    "transformer detector": lambda: _detector(
        VideoViT(24, 2, 2, image_size=64, num_frames=8, patch=10), aligned=False, box_extension=(0.1, 0.05)
    ),
    "rotary classifier": lambda: _classifier(VideoViT(24, 2, 2, positions="rotary", qkv_bias="full")),
    "MViT detector": lambda: _detector(MViT((8, 64, 64), 2, 16, **MVIT)),
    "classifier": lambda: _classifier(ResNet3D.preset("i3d", depth=18, width=8), "BGR"),
}


def _inputs(model, batch: int, boxes: int) -> tuple[dict, dict]:
    """A batch as the model takes it, and the same as an exported function does. Boxes lie in order of clips."""
    generator = torch.Generator().manual_seed(batch)
    video = torch.randint(0, 256, (batch, 3, *CLIP), generator=generator, dtype=torch.uint8)
    if isinstance(model, VideoClassifier):
        return {"video": video}, {"video": video}
    corners = torch.rand(boxes, 4, generator=generator) * 30
    coordinates = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1)
    clip = torch.arange(boxes) % batch
    order = clip.argsort(stable=True)
    rois = torch.cat([clip.unsqueeze(1).float(), coordinates], 1)[order]
    return {"video": video, "boxes": [rois[rois[:, 0] == i, 1:] for i in range(batch)]}, {
        "video": video,
        "rois": rois,
    }


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(MODELS))
def test_program(tmp_path, name):
    model = MODELS[name]()
    path = tmp_path / "model.pt2"
    export_program(model, path, CLIP, {"config.yaml": "A: 1\n"})
    assert check_program(model, path, CLIP) <= 1e-6
    extra = {"config.yaml": ""}
    module = torch.export.load(str(path), extra_files=extra).module()
    assert extra == {"config.yaml": "A: 1\n"}
    for batch, boxes in BATCHES:
        ours, plain = _inputs(model, batch, boxes)
        expected = torch.cat([p["scores"].view(-1, 5) for p in model(ours)])
        torch.testing.assert_close(module(*plain.values()), expected, rtol=0, atol=1e-6)
    assert list(tmp_path.iterdir()) == [path]


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(MODELS))
def test_onnx(tmp_path, name):
    reason = "the packages of modist_det[export] are not installed"
    onnx = pytest.importorskip("onnx", reason=reason)
    pytest.importorskip("onnxscript", reason=reason)
    onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
    model = MODELS[name]()
    path = tmp_path / "model.onnx"
    export_onnx(model, path, CLIP, {"config": "A: 1\n"})
    assert check_onnx(model, path, CLIP) <= TOLERANCE
    content = onnx.load(path)
    onnx.checker.check_model(content)
    assert {prop.key: prop.value for prop in content.metadata_props}["config"] == "A: 1\n"
    assert any(node.op_type == "RoiAlign" for node in content.graph.node) == ("detector" in name)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, boxes in BATCHES:
        ours, plain = _inputs(model, batch, boxes)
        expected = torch.cat([p["scores"].view(-1, 5) for p in model(ours)])
        (scores,) = session.run(["scores"], {key: value.numpy() for key, value in plain.items()})
        torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=0, atol=1e-4)
        if batch == 2:
            assert expected.std() > 0.01
    assert list(tmp_path.iterdir()) == [path]


def test_a_program_runs_without_this_package(tmp_path):
    model = MODELS["detector"]()
    export_program(model, tmp_path / "model.pt2", CLIP)
    code = (
        "import sys, torch, torchvision\n"
        "sys.modules['modist_det'] = None\n"
        f"module = torch.export.load({str(tmp_path / 'model.pt2')!r}).module()\n"
        "video = torch.zeros(1, 3, 8, 48, 64, dtype=torch.uint8)\n"
        "print(*module(video, torch.tensor([[0, 1.0, 2, 30, 40]])).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout == "1 5\n", done.stderr


def test_only_classifiers_and_detectors(tmp_path):
    with pytest.raises(UserError, match="only classifiers and detectors can be exported, not a ResNet3D"):
        export_program(ResNet3D(18, 4), tmp_path / "x.pt2", CLIP)
    model = _detector(ResNet3D(18, 4))
    model.head = ACARHead([32], 5, 16)
    with pytest.raises(UserError, match="a model with ACARHead cannot be exported: the head needs more"):
        export_program(model, tmp_path / "x.pt2", CLIP)
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError,
        match=r"ONNX export needs onnx, onnxscript, onnxruntime: pip install onnx onnxscript onnxruntime",
    ):
        export_onnx(MODELS["classifier"](), tmp_path / "x.onnx", CLIP)
    with pytest.raises(UserError, match="ONNX export needs onnxruntime"):
        check_onnx(MODELS["classifier"](), tmp_path / "x.onnx", CLIP)


@torch.no_grad()
@pytest.mark.parametrize(
    "backbone", [ResNet3D(50, 8), SlowFast(18, 8), X3D(width_factor=1.0, depth_factor=1.0)]
)
def test_exported_networks_have_no_batch_norms(backbone):
    model = _classifier(backbone)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.bias.normal_(0, 0.1)
    names = list(model.state_dict())
    folded = fold_norms(model)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    assert list(model.state_dict()) == names
    batch, _ = _inputs(model, 2, 0)
    for before, after in zip(model(batch), folded(batch), strict=True):
        torch.testing.assert_close(after["scores"], before["scores"], rtol=1e-5, atol=1e-6)
