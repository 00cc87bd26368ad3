"""Files and names of torchvision's video models."""

from __future__ import annotations

import pytest
import torch
import torchvision

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.describe import describe_backbone, fitting_keys
from modist_det.checkpoint.formats import convert, detect_format
from modist_det.modeling import ClassificationHead, ResNet3D, TorchvisionVideo, VideoClassifier
from modist_det.modeling.losses import cross_entropy
from modist_det.utils.errors import UserError

# Smallest clips on which torchvision's own forward works, but for MViTv2, which is told the size.
CLIPS = {
    "r3d_18": (2, 3, 9, 40, 56),
    "r2plus1d_18": (2, 3, 9, 40, 56),
    "mc3_18": (2, 3, 4, 40, 56),
    "s3d": (1, 3, 21, 209, 209),
    "mvit_v2_s": (2, 3, 4, 64, 64),
    "swin3d_t": (2, 3, 5, 40, 72),
}


def _classifier(name: str, classes: int = 400) -> VideoClassifier:
    backbone = TorchvisionVideo(name, features="pooled")
    head = ClassificationHead(backbone.out_channels, classes)
    return VideoClassifier(backbone, head, cross_entropy, [0.45] * 3, [0.225] * 3).eval()


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_file_of_torchvision_gives_torchvisions_scores(name, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None).eval()
    for parameter in theirs.parameters():  # among them positions, which are zero
        parameter.data += 0.02 * torch.randn_like(parameter)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    model = _classifier(name)
    report = load_weights(model, tmp_path / "model.pth")
    assert report.format == "torchvision_video"
    assert (report.missing, report.unexpected, report.mismatched, report.dropped) == ([], [], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    clip = torch.randn(CLIPS[name])
    if name == "mvit_v2_s":
        theirs.pos_encoding.temporal_size, theirs.pos_encoding.spatial_size = 2, (16, 16)
    with torch.no_grad():
        expected = theirs(clip)
        logits = model.head(model.backbone(clip))[:, 0]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1e-3


def test_other_classes_keep_their_head(tmp_path):
    theirs = torchvision.models.get_model("mc3_18", weights=None)
    torch.save({"model": theirs.state_dict()}, tmp_path / "model.pth")
    report = load_weights(_classifier("mc3_18", classes=7), tmp_path / "model.pth")
    assert [m.name for m in report.mismatched] == ["head.projection.weight", "head.projection.bias"]
    report = load_weights(TorchvisionVideo("mc3_18"), tmp_path / "model.pth")
    assert {reason for _, reason in report.dropped} == {"the model is only a backbone"}
    assert not (report.missing or report.unexpected or report.mismatched)


def test_a_file_of_our_own_loads_again(tmp_path):
    model = _classifier("mc3_18", classes=7)
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    report = load_weights(_classifier("mc3_18", classes=7), tmp_path / "model.pth")
    assert report.format == "modist_det"
    report.require_complete()


def test_another_network_is_named(tmp_path):
    torch.save(torchvision.models.get_model("r2plus1d_18", weights=None).state_dict(), tmp_path / "model.pth")
    message = "The file: TorchvisionVideo, r2plus1d_18. The model: TorchvisionVideo, mc3_18"
    with pytest.raises(UserError, match=message):
        load_weights(TorchvisionVideo("mc3_18"), tmp_path / "model.pth")
    for name in (*CLIPS, "mvit_v1_b", "swin3d_s", "swin3d_b"):
        with torch.device("meta"):
            theirs = torchvision.models.get_model(name, weights=None).state_dict()
        weights = convert(theirs, detect_format(theirs))
        assert describe_backbone(weights.tensors) == f"TorchvisionVideo, {name}"
        assert fitting_keys(weights.tensors)["MODEL.TORCHVISION.NAME"] == name
    with pytest.raises(
        UserError,
        match=r"format torchvision_video\) has another backbone.*configs/Zoo/R2Plus1D_18.yaml has it",
    ):
        load_weights(ResNet3D(depth=18, width=8), tmp_path / "model.pth")
