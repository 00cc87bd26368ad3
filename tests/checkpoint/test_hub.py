"""``hf://`` paths, read from a local server that answers as the Hugging Face Hub does."""

from __future__ import annotations

import errno
import io
import logging
import socket
import sys
import time

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.hub import HubPath, choose_file, parse_hub_path
from modist_det.modeling.backbone import ResNet3D
from modist_det.utils.errors import UserError
from modist_det.utils.paths import local_path

hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (the extra hub)")


def tiny(seed: int) -> ResNet3D:
    torch.manual_seed(seed)
    return ResNet3D(depth=18, width=4)


@pytest.fixture
def repo(hub_server):
    """A repository with the weights of ``tiny(1)`` in a torch file."""
    buffer = io.BytesIO()
    torch.save(tiny(1).state_dict(), buffer)
    hub_server.repos["org/net"] = {"pytorch_model.bin": buffer.getvalue(), "README.md": b"a card"}
    return hub_server


def assert_loads(path: str) -> None:
    model, expected = tiny(0), tiny(1).state_dict()
    report = load_weights(model, path)
    assert report.path == path and not report.missing
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_weights_are_loaded_and_the_choice_is_said(repo, caplog):
    with caplog.at_level(logging.INFO, "modist_det"):
        assert_loads("hf://org/net")
    assert "hf://org/net: using pytorch_model.bin" in caplog.text


def test_safetensors_come_first_and_a_file_can_be_named(repo):
    from safetensors.torch import save

    repo.repos["org/net"]["model.safetensors"] = save(tiny(1).state_dict())
    repo.repos["org/net"]["pytorch_model.bin"] = b"not read"
    repo.repos["org/net"]["below/it/net.safetensors"] = repo.repos["org/net"]["model.safetensors"]
    assert_loads("hf://org/net")
    assert_loads("hf://org/net/below/it/net.safetensors")


def test_a_revision(repo):
    commit = repo.commit_of("org/net")
    assert_loads(f"hf://org/net@{commit}")
    assert_loads(f"hf://org/net/pytorch_model.bin@{commit}")
    for path in (f"/api/models/org/net/revision/{commit}", f"/org/net/resolve/{commit}/pytorch_model.bin"):
        assert path in [asked.partition("?")[0] for _, asked in repo.requests]
    with pytest.raises(UserError, match="org/net has no revision v9"):
        local_path("hf://org/net@v9")


def test_what_was_read_once_is_there_without_a_network(repo, monkeypatch):
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    with pytest.raises(UserError, match="hf://org/net is not in the cache.*MODIST_DET_OFFLINE"):
        local_path("hf://org/net")  # there is no cache yet
    monkeypatch.delenv("MODIST_DET_OFFLINE")
    path = local_path("hf://org/net")
    repo.failing = True
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    before = len(repo.requests)
    assert local_path("hf://org/net") == local_path(f"hf://org/net@{repo.commit_of('org/net')}") == path
    assert len(repo.requests) == before
    for other in ("hf://org/other", "hf://org/net/x.pth", "hf://org/net@v2"):
        with pytest.raises(UserError, match=f"{other} is not in the cache.*MODIST_DET_OFFLINE"):
            local_path(other)


def test_no_network(repo, monkeypatch):
    path = local_path("hf://org/net")
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert local_path("hf://org/net") == path
    for name in ("hf://org/new", "hf://org/new/model.safetensors"):
        with pytest.raises(UserError, match="cannot be reached.*check the connection") as caught:
            local_path(name)
        assert "\n" not in str(caught.value) and "http://127.0.0.1:9" in str(caught.value)


def test_a_hub_that_accepts_and_does_not_answer(repo, monkeypatch):
    monkeypatch.setattr("modist_det.checkpoint.hub._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UserError, match="cannot be reached.*check the connection"):
            local_path("hf://org/net")
    assert time.monotonic() - began < 5  # huggingface_hub's own limit is 10


def test_errors_of_the_hub(repo):
    repo.repos["org/locked"] = {"model.safetensors": b""}
    repo.gated.add("org/locked")
    for path, message in {
        "hf://org/nothing": r"has no model repository org/nothing, or it is private: .*HF_TOKEN",
        "hf://org/locked": r"is gated: ask for access on http://127.0.0.1:\d+/org/locked, then log in",
        "hf://org/locked/model.safetensors": "is gated",
        "hf://org/net/gone.pth": "org/net has no file gone.pth; the form is",
        "hf://org/net/torch_model.bin": "has no file torch_model.bin; did you mean 'pytorch_model.bin'",
        "hf://org/..net..": "hf://org/..net..: Repo id must",
        "hf://net": r"hf://net is not of the form hf://ORG/NAME\[/FILE\]\[@REVISION\]",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            local_path(path)
        assert "\n" not in str(caught.value)
    repo.failing = True
    with pytest.raises(UserError, match="hf://org/net: .*500.*try again later"):
        local_path("hf://org/net")


def test_a_cache_that_cannot_be_written_is_no_matter_of_the_connection(repo, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/x")

    monkeypatch.setattr(hub, "hf_hub_download", full)
    with pytest.raises(UserError, match=r"^hf://org/net: \[Errno 28\] No space left on device: '/cache/x'$"):
        local_path("hf://org/net")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="not installed: pip install huggingface_hub"):
        local_path("hf://org/net")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["a.bin", "pytorch_model.bin", "model.safetensors"], "model.safetensors"),
        (["checkpoints/model_0000100.pth", "pytorch_model.bin"], "pytorch_model.bin"),
        (["checkpoints/model_0000099.pth", "checkpoints/model_0000100.pth"], "checkpoints/model_0000100.pth"),
        (["checkpoints/model_0000200.pth", "model_0000100.pth"], "checkpoints/model_0000200.pth"),
        (["model_best.pth", "model_0000100.pth", "x.pth"], "model_best.pth"),
        (["README.md", "l16/net.pth", "config.json"], "l16/net.pth"),
    ],
)
def test_which_file_is_chosen(files, chosen):
    assert choose_file(files, HubPath("org/net")) == chosen


def test_no_file_is_guessed():
    with pytest.raises(UserError, match=r"several files of weights \(a.pth, b.pth\); name one"):
        choose_file(["b.pth", "a.pth"], HubPath("org/net"))
    names = [f"{letter}.pth" for letter in "ihgfedcba"]
    for count, end in ((8, r"i.pth\); name one"), (9, r"h.pth, \.\.\.\); name one")):
        with pytest.raises(UserError, match=end):
            choose_file(names[:count], HubPath("org/net"))
    with pytest.raises(UserError, match="no file of weights"):
        choose_file(["README.md"], HubPath("org/net"))


def test_parts_of_a_path():
    text = "hf://org/net/below/a.pth@refs/pr/1"
    assert parse_hub_path(text) == HubPath("org/net", "below/a.pth", "refs/pr/1")
    assert str(parse_hub_path(text)) == text and str(HubPath("org/net")) == "hf://org/net"
