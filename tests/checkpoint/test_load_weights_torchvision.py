"""Files and names of torchvision's video models."""

from __future__ import annotations

import functools
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision
from torchvision.models import get_model_weights

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.torchvision_video import torchvision_file
from modist_det.modeling import ClassificationHead, ResNet3D, TorchvisionVideo, VideoClassifier
from modist_det.modeling.losses import cross_entropy
from modist_det.utils.errors import UserError

# Smallest clips on which torchvision's own forward works, but for MViT, which is told the size.
CLIPS = {
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
    assert {reason for _, reason in report.dropped} == {"the model is a backbone alone"}
    assert not (report.missing or report.unexpected or report.mismatched)


def test_a_file_of_our_own_loads_again(tmp_path):
    model = _classifier("mc3_18", classes=7)
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    report = load_weights(_classifier("mc3_18", classes=7), tmp_path / "model.pth")
    assert report.format == "modist_det"
    report.require_complete()


def test_another_network_is_named(tmp_path):
    torch.save(torchvision.models.get_model("r2plus1d_18", weights=None).state_dict(), tmp_path / "model.pth")
    message = r"The file: TorchvisionVideo, R\(2\+1\)D. The model: TorchvisionVideo, MC3 or R3D"
    with pytest.raises(UserError, match=message):
        load_weights(TorchvisionVideo("mc3_18"), tmp_path / "model.pth")
    with pytest.raises(
        UserError,
        match=r"format torchvision_video\) has another backbone.*configs/Zoo/R2Plus1D_18.yaml has it",
    ):
        load_weights(ResNet3D(depth=18, width=8), tmp_path / "model.pth")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch.hub."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub" / "checkpoints"


def test_weights_by_name_come_from_the_cache(hub):
    torch.manual_seed(0)
    hub.mkdir(parents=True)
    theirs = torchvision.models.get_model("mc3_18", weights=None)
    torch.save(theirs.state_dict(), hub / "mc3_18-a90a0ba3.pth")
    for url in ("torchvision://mc3_18/KINETICS400_V1", "torchvision://mc3_18"):
        model = _classifier("mc3_18")
        report = load_weights(model, url)
        assert report.path == str(hub / "mc3_18-a90a0ba3.pth")
        assert torch.equal(model.head.projection.weight, theirs.fc.weight)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("torchvision://mc3_19", "no model 'mc3_19'"),
        ("torchvision://", "no model ''"),
        ("torchvision://s3d/IMAGENET1K_V1", "weights of s3d are KINETICS400_V1"),
    ],
)
def test_names_that_torchvision_lacks(hub, url, message):
    with pytest.raises(UserError, match=message):
        load_weights(TorchvisionVideo("mc3_18"), url)


@pytest.fixture
def server(tmp_path):
    """A local HTTP server of the folder it returns; its address is in ``address``."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("fault", ["", "hash", "missing"])
def test_download(hub, server, monkeypatch, fault):
    """Whole or not at all, and checked against the digits in the file's name."""
    folder, address = server
    content = b"weights" * 100
    digits = hashlib.sha256(content).hexdigest()[:8]
    name = f"mc3_18-{'0' * 8 if fault == 'hash' else digits}.pth"
    if fault != "missing":
        (folder / name).write_bytes(content)
    weights = get_model_weights("mc3_18")["KINETICS400_V1"]
    monkeypatch.setattr(weights.value, "url", f"{address}/{name}")
    if fault:
        with pytest.raises(
            UserError, match=f"cannot download {address}/{name} .*set MODEL.WEIGHTS"
        ) as caught:
            torchvision_file("torchvision://mc3_18/KINETICS400_V1")
        assert "\n" not in str(caught.value)
        assert list(hub.iterdir()) == []
    else:
        path = torchvision_file("torchvision://mc3_18/KINETICS400_V1")
        assert path == hub / name and path.read_bytes() == content
        (folder / name).unlink()
        assert torchvision_file("torchvision://mc3_18/KINETICS400_V1") == path
