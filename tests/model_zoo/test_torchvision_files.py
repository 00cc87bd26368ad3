"""torchvision://NAME/WEIGHTS: through the cache, with torchvision's hashes."""

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
from modist_det.checkpoint.torchvision_files import torchvision_file
from modist_det.modeling import TorchvisionVideo
from modist_det.utils.cache import cached_path, read_lock
from modist_det.utils.errors import UserError
from modist_det.utils.paths import path_manager

PATH = "torchvision://mc3_18/KINETICS400_V1"
URL = "https://download.pytorch.org/models/mc3_18-a90a0ba3.pth"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no connection to torchvision's server."""
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    return tmp_path / "cache"


def test_weights_by_name_come_from_the_cache(cache):
    torch.manual_seed(0)
    with pytest.raises(UserError, match=f"{PATH} is not in the cache.*download {URL} .*put it at {cache}"):
        load_weights(TorchvisionVideo("mc3_18"), PATH)
    cached_path(URL).parent.mkdir(parents=True)
    theirs = torchvision.models.get_model("mc3_18", weights=None)
    torch.save(theirs.state_dict(), cached_path(URL))
    for path in (PATH, "torchvision://mc3_18"):
        model = TorchvisionVideo("mc3_18")
        assert load_weights(model, path).path == path
        assert torch.equal(model.network.stem[0].weight, theirs.stem[0].weight)
        assert path_manager().get_local_path(path) == str(cached_path(URL))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("torchvision://mc3_19", "no model 'mc3_19'; did you mean 'mc3_18'"),
        ("torchvision://", "no model ''"),
        ("torchvision://s3d/IMAGENET1K_V1", "weights of s3d are KINETICS400_V1, DEFAULT"),
        ("torchvision://s3d/KINETICS400_V2", "did you mean 'KINETICS400_V1'"),
        ("torchvision://mnasnet0_5/x/y", "weights of mnasnet0_5 are IMAGENET1K_V1"),
    ],
)
def test_names_that_torchvision_lacks(path, message):
    with pytest.raises(UserError, match=message):
        load_weights(TorchvisionVideo("mc3_18"), path)


@pytest.fixture
def server(tmp_path):
    """A local HTTP server of the folder it returns, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("fault", ["", "has the SHA-256", "404"])
def test_download(server, monkeypatch, fault):
    """Whole or not at all, and checked against the digits in the file's name."""
    folder, address = server
    monkeypatch.delenv("MODIST_DET_OFFLINE")
    content = b"weights" * 100
    digest = hashlib.sha256(content).hexdigest()
    name = f"mc3_18-{'0' * 8 if 'SHA' in fault else digest[:8]}.pth"
    if fault != "404":
        (folder / name).write_bytes(content)
    url = f"{address}/{name}"
    monkeypatch.setattr(get_model_weights("mc3_18")["KINETICS400_V1"].value, "url", url)
    if fault:
        with pytest.raises(UserError, match=f"{url}.*{fault}") as caught:
            torchvision_file(PATH)
        assert "\n" not in str(caught.value)
        assert not cached_path(url).exists() and not read_lock()
    else:
        assert torchvision_file(PATH) == cached_path(url)
        assert cached_path(url).read_bytes() == content
        assert read_lock()[url].sha256 == digest
        (folder / name).unlink()
        assert torchvision_file(PATH) == cached_path(url)
