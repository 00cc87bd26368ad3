"""What we write is what other code bases have: compared with their files and by their own means of loading."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torchvision

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.formats import detect_format
from modist_det.checkpoint.reading import read_checkpoint
from modist_det.checkpoint.writing import WRITTEN_FORMATS, write_weights
from modist_det.modeling import (
    X3D,
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    SlowFast,
    TorchvisionVideo,
    VideoClassifier,
    X3DHead,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError
from tests.checkpoint.foreign import (
    caffe2_blobs,
    pytorchvideo_resnet,
    pytorchvideo_slowfast,
    pytorchvideo_x3d,
    randomize,
)

NORMALIZATION = ([0.45] * 3, [0.225] * 3)


def _classifier(backbone, classes: int = 5) -> VideoClassifier:
    head = ClassificationHead(backbone.out_channels, classes)
    return randomize(VideoClassifier(backbone, head, cross_entropy, *NORMALIZATION))


def _detector(backbone) -> ActionDetector:
    head = RoIActionHead(backbone.out_channels, 5, backbone.spatial_stride, aligned=False)
    return randomize(ActionDetector(backbone, head, bce_with_logits, *NORMALIZATION))


@pytest.mark.parametrize(
    ("case", "format", "backbone"),
    [
        ("maclr_dense_slow_w8", "modist", lambda: ResNet3D.preset("dense_slow", width=8)),
        ("pyslowfast_slowfast_8x8_r50_w16", "pyslowfast", lambda: SlowFast(width=16)),
        ("pyslowfast_ava_slow_4x16_r50_w8", "pyslowfast", lambda: ResNet3D(width=8)),
    ],
)
def test_pyslowfast_s_own_file_comes_back(real_data, tmp_path, case, format, backbone):
    theirs = torch.load(real_data / "reference" / f"{case}.pyth", weights_only=True)["model_state"]
    classes = next(len(t) for name, t in theirs.items() if name.endswith("head.projection.weight"))
    model = _classifier(backbone(), classes)
    load_weights(model, real_data / "reference" / f"{case}.pyth").require_complete()
    assert write_weights(tmp_path / "out.pyth", model.state_dict(), format) == []
    written = torch.load(tmp_path / "out.pyth", weights_only=True)
    # What PySlowFast's load_checkpoint reads.
    assert written.keys() == {"epoch", "model_state", "optimizer_state", "cfg"}
    expected = {name: tensor for name, tensor in theirs.items() if name != "queue"}
    assert written["model_state"].keys() == expected.keys()
    assert all(torch.equal(expected[name], t) for name, t in written["model_state"].items())


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "detection"),
    [
        ("slow", False),
        ("slow", True),
        ("i3d", False),
        ("c2d", False),
        ("slowfast", False),
        ("slowfast", True),
    ],
)
def test_pytorchvideo_loads_what_we_write(tmp_path, kind, detection):
    """Strictly, as its hub does, and with the same scores."""
    clip = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 5.0, 3.0, 50.0, 60.0]])
    if kind == "slowfast":
        backbone = SlowFast(width=16, dilate_res5=detection)
        theirs = pytorchvideo_slowfast(16, 5, detection).eval()
        inputs = [clip[:, :, [0, 7]], clip]
    else:
        backbone = ResNet3D.preset(kind, width=8, dilate_res5=detection)
        theirs, inputs = pytorchvideo_resnet(kind, 8, 5, detection).eval(), clip
    ours = (_detector if detection else _classifier)(backbone)
    write_weights(
        tmp_path / "hub.pyth",
        ours.state_dict(),
        "pytorchvideo",
        pool_after_res2=kind in ("i3d", "c2d"),
        detection=detection,
    )
    theirs.load_state_dict(torch.load(tmp_path / "hub.pyth", weights_only=True)["model_state"])
    if detection:
        scores, expected = theirs(inputs, rois), ours({"video": clip, "boxes": [rois[:, 1:]]})[0]["scores"]
    else:
        scores, expected = theirs(inputs), ours.head(ours.backbone(clip))[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pytorchvideo_loads_the_x3d_that_we_write(tmp_path):
    def model(norm: bool) -> VideoClassifier:
        backbone = X3D(res2_shortcut_norm=norm)
        head = X3DHead(backbone.out_channels, backbone.inner_channels, 2048, 5)
        return randomize(VideoClassifier(backbone, head, cross_entropy, *NORMALIZATION))

    ours, theirs = model(norm=False), pytorchvideo_x3d((3, 5, 11, 7), (4, 2, 2), 5).eval()
    write_weights(tmp_path / "hub.pyth", ours.state_dict(), "pytorchvideo")
    theirs.load_state_dict(torch.load(tmp_path / "hub.pyth", weights_only=True)["model_state"])
    clip = torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    scores = ours.head.scores(ours.head(ours.backbone(clip)))
    torch.testing.assert_close(scores, theirs(clip), rtol=1e-4, atol=1e-5)
    # Theirs have no place for PySlowFast's norm.
    with pytest.raises(UserError, match="cannot store backbone.res2.0.shortcut_norm.weight"):
        write_weights(tmp_path / "other.pyth", model(norm=True).state_dict(), "pytorchvideo")
    assert not (tmp_path / "other.pyth").exists()


@pytest.mark.parametrize("backbone", [lambda: ResNet3D(width=4), lambda: SlowFast(width=16)])
def test_caffe2_has_its_blobs(tmp_path, backbone):
    from modist_det.checkpoint.pyslowfast import to_pyslowfast

    model = _classifier(backbone())
    left_out = write_weights(tmp_path / "model.pkl", model.state_dict(), "caffe2")
    assert left_out and all(name.endswith("num_batches_tracked") for name in left_out)
    blobs = pickle.loads((tmp_path / "model.pkl").read_bytes())["blobs"]
    theirs = caffe2_blobs({to_pyslowfast(name): tensor for name, tensor in model.state_dict().items()})
    expected = {
        n: b for n, b in theirs.items() if not n.endswith("_momentum") and n not in ("lr", "model_iter")
    }
    assert blobs.keys() == expected.keys()
    assert all(np.array_equal(expected[name], blob) for name, blob in blobs.items())


@torch.no_grad()
@pytest.mark.parametrize("name", ["mc3_18", "s3d", "mvit_v2_s", "swin3d_t"])
def test_torchvision_loads_what_we_write(tmp_path, name):
    """Strictly; the scores of such files are compared in test_load_weights_torchvision.py."""
    backbone = TorchvisionVideo(name, features="pooled")
    ours = VideoClassifier(
        backbone, ClassificationHead(backbone.out_channels, 400), cross_entropy, *NORMALIZATION
    )
    assert write_weights(tmp_path / "model.pth", ours.state_dict(), "torchvision_video") == []
    theirs = torchvision.models.get_model(name, weights=None)
    theirs.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    for parameter, expected in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(parameter.flatten(), expected.flatten())
    assert detect_format(theirs.state_dict()) == "torchvision_video"
    with pytest.raises(UserError, match="cannot store backbone.stem.conv.weight"):
        write_weights(tmp_path / "x", _classifier(ResNet3D(18, 4)).state_dict(), "torchvision_video")


@pytest.mark.parametrize(
    "format", sorted({*WRITTEN_FORMATS} - {"torchvision_video", "videomae", "hf_videomae"})
)
@pytest.mark.parametrize("backbone", [lambda: ResNet3D(50, 4), lambda: SlowFast(50, 8)])
def test_every_format_comes_back(tmp_path, format, backbone):
    source, target = _classifier(backbone()), _classifier(backbone())
    write_weights(tmp_path / "file", source.state_dict(), format, config="A: 1\n")
    report = load_weights(target, tmp_path / "file")
    report.require_complete()
    assert report.format == ("modist_det" if format == "safetensors" else format)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name]) or name.endswith("num_batches_tracked")


def test_config_goes_along(tmp_path):
    tensors = ResNet3D(18, 4).state_dict()
    write_weights(tmp_path / "a.safetensors", tensors, "safetensors", config="A: 1\n")
    assert read_checkpoint(tmp_path / "a.safetensors")["metadata"] == {
        "format": "modist_det",
        "config": "A: 1\n",
    }
    write_weights(tmp_path / "a.pth", tensors, "modist_det", config="A: 1\n")
    assert read_checkpoint(tmp_path / "a.pth")["config"] == "A: 1\n"


def test_mistakes(tmp_path):
    tensors = {"backbone.stem.conv.weight": torch.zeros(1), "backbone.attention.weight": torch.zeros(1)}
    with pytest.raises(UserError, match="pyslowfast cannot store backbone.attention.weight"):
        write_weights(tmp_path / "x", tensors, "pyslowfast")
    with pytest.raises(UserError, match="no format 'safetensor' to write; did you mean 'safetensors'"):
        write_weights(tmp_path / "x", tensors, "safetensor")
    assert not list(tmp_path.iterdir())
