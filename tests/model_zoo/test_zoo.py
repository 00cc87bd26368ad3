"""Getting models by name, with a local server in the place of the sources."""

from __future__ import annotations

import dataclasses
import http.server
import subprocess
import sys
import threading

import pytest
import torch

from modist_det import model_zoo
from modist_det.checkpoint import configs, load_weights, published_weights
from modist_det.checkpoint.entry import Entry
from modist_det.checkpoint.pyslowfast import to_pyslowfast
from modist_det.modeling import ResNet3D, build_model
from modist_det.utils.cache import cached_path
from modist_det.utils.errors import UserError

NAME = "pyslowfast/slow_8x8_r50_k400"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that a local server serves; the cache is elsewhere."""
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
    folder = tmp_path / "shelf"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _publish(monkeypatch, shelf, entry: Entry, state: dict) -> Entry:
    """Save ``state`` where ``entry`` is then downloaded from."""
    folder, url = shelf
    torch.save({"model_state": state}, folder / "file.pyth")
    entry = dataclasses.replace(entry, url=f"{url}/file.pyth", sha256="")
    monkeypatch.setitem(published_weights.ENTRIES, entry.name, entry)
    return entry


def _state(network, prefix: str = "") -> dict:
    return {
        to_pyslowfast(prefix + name): torch.full_like(tensor, 0.25)
        for name, tensor in network.state_dict().items()
    }


def test_get_a_classifier(monkeypatch, shelf):
    torch.manual_seed(0)
    network = build_model(model_zoo.get_config(NAME, trained=False))
    entry = _publish(monkeypatch, shelf, published_weights.ENTRIES[NAME], _state(network))
    model = model_zoo.get(NAME)
    assert not model.training
    assert all((p == 0.25).all() for p in model.parameters())
    path = model_zoo.get_checkpoint_path(NAME)
    assert path == cached_path(entry.url) and path.is_file()
    fresh = model_zoo.get(NAME, trained=False)
    assert not (fresh.backbone.stem.conv.weight == 0.25).any()


def test_get_a_backbone(monkeypatch, shelf):
    name = "pyslowfast/moco_rho2_slow_8x8_r50"
    backbone = ResNet3D()
    state = {f"backbone.{k}": v for k, v in _state(backbone, "backbone.").items()}
    _publish(monkeypatch, shelf, published_weights.ENTRIES[name], state | {"backbone_hist.x": torch.zeros(1)})
    got = model_zoo.get(name)
    assert isinstance(got, ResNet3D)
    assert all((p == 0.25).all() for p in got.parameters())


def test_get_a_person_detector(monkeypatch, shelf):
    import torchvision

    name = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
    network = torchvision.models.get_model(
        published_weights.ENTRIES[name].builder, weights=None, weights_backbone=None
    )
    state = network.state_dict()
    _publish(monkeypatch, shelf, published_weights.ENTRIES[name], state)
    got = model_zoo.get(name)
    assert all(torch.equal(state[k], v) for k, v in got.state_dict().items())
    assert got([torch.rand(3, 64, 64)])[0].keys() == {"boxes", "labels", "scores"}


def test_a_file_of_another_network_is_refused(monkeypatch, shelf):
    network = ResNet3D(width=8)
    _publish(monkeypatch, shelf, published_weights.ENTRIES[NAME], _state(network, "backbone."))
    with pytest.raises(UserError, match="has another backbone than the model"):
        model_zoo.get(NAME)


def test_zoo_paths(monkeypatch, shelf):
    network = ResNet3D()
    entry = _publish(monkeypatch, shelf, published_weights.ENTRIES[NAME], _state(network, "backbone."))
    report = load_weights(network, f"zoo://{NAME}")
    assert report.path == f"zoo://{NAME}"
    assert (network.stem.conv.weight == 0.25).all()
    assert load_weights(network, entry.url).loaded == report.loaded
    with pytest.raises(UserError, match="did you mean 'pyslowfast/slow_8x8_r50_k400'"):
        load_weights(network, "zoo://pyslowfast/slow_8x8_r50")


def test_offline_names_the_entry_and_the_place(monkeypatch, shelf):
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    place = cached_path(published_weights.ENTRIES[NAME].url)
    with pytest.raises(UserError, match=f"zoo://{NAME} is not in the cache.*put it at {place}"):
        model_zoo.get_checkpoint_path(NAME)


def test_configs_come_with_the_package(root):
    assert configs.config_folder().resolve() == (root / "configs").resolve()


def test_listing_needs_no_torch():
    code = (
        "import sys\nfrom modist_det import model_zoo\nmodel_zoo.list('detection')\n"
        "model_zoo.get_entry('pytorchvideo/slow_8x8_r50_k400')\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
