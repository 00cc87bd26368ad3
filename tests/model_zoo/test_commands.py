"""Checking and locking what is in the cache, with a small entry and local files."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from modist_det.checkpoint import published_weights
from modist_det.checkpoint.entry import Entry
from modist_det.model_zoo import commands
from modist_det.model_zoo.page import markdown_page
from modist_det.model_zoo.zoo import build
from modist_det.utils.cache import HashRecord, cached_path, lock_file, read_lock, write_lock
from modist_det.utils.errors import UserError


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """A backbone of 5 channels whose file is in the cache."""
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    config = tmp_path / "small.yaml"
    config.write_text("TASK: pretraining\nMODEL: {RESNET3D: {DEPTH: 18, WIDTH: 5}}\n")
    small = Entry(
        name="test/small",
        task="pretraining",
        url="https://example.org/weights/small.pth",
        format="modist_det",
        data="nothing",
        source="https://example.org",
        licence="none",
        config=str(config),
        input="8x8",
    )
    monkeypatch.setattr(published_weights, "ENTRIES", {small.name: small})
    for module in ("model_zoo.commands", "checkpoint.handlers", "model_zoo.page"):
        monkeypatch.setattr(f"modist_det.{module}.ENTRIES", {small.name: small})
    path = cached_path(small.url)
    path.parent.mkdir(parents=True)
    torch.save(build(small).state_dict(), path)
    return small


def test_a_file_that_is_as_it_should_be(entry):
    assert commands.verify([]) == {"test/small": ""}
    path, count = commands.lock([])
    assert (path, count) == (lock_file(), 1)
    file = cached_path(entry.url)
    assert json.loads(path.read_text()) == {
        entry.url: {"size": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    }
    assert commands.verify(["test/small"]) == {"test/small": ""}


def test_a_file_that_changed(entry):
    commands.lock([])
    file = cached_path(entry.url)
    state = torch.load(file, weights_only=True)
    state["stem.conv.weight"] += 1
    torch.save(state, file)
    assert "was recorded at its download" in commands.verify([])["test/small"]
    with pytest.raises(UserError, match="differs from the recorded file"):
        commands.lock([])


def test_a_file_that_does_not_fit(entry):
    file = cached_path(entry.url)
    state = torch.load(file, weights_only=True)
    del state["stem.norm.bias"]
    torch.save(state, file)
    assert "are missing from the file (backbone.stem.norm.bias)" in commands.verify([])["test/small"]
    file.write_bytes(file.read_bytes()[:5000])
    assert "is truncated" in commands.verify([])["test/small"]


def test_a_catalogue_that_knows_better(entry, monkeypatch):
    import dataclasses

    known = dataclasses.replace(entry, sha256="0" * 64, size=3)
    for module in ("model_zoo.commands", "checkpoint.handlers"):
        monkeypatch.setattr(f"modist_det.{module}.ENTRIES", {entry.name: known})
    assert "the catalogue says 0000" in commands.verify([])["test/small"]
    with pytest.raises(UserError, match="differs from the recorded file"):
        commands.lock([])


def test_lock_adds_to_what_is_recorded(entry):
    other = {"https://example.org/other.pth": HashRecord(3, "0" * 64)}
    write_lock(other, lock_file())
    assert commands.lock(["test/small"]) == (lock_file(), 2)
    assert read_lock().keys() == {*other, entry.url}


def test_lock_in_another_file(entry, tmp_path):
    own = tmp_path / "zoo.lock.json"
    write_lock({"https://example.org/other.pth": HashRecord(3, "0" * 64)}, lock_file())
    assert commands.lock(["test/small"], own) == (own, 1)
    assert list(json.loads(own.read_text())) == [entry.url] and entry.url not in read_lock()
    cached_path(entry.url).unlink()
    assert commands.verify(["test/small"])["test/small"].startswith("not in the cache")
    with pytest.raises(UserError, match="test/small is not in the cache"):
        commands.lock(["test/small"])
    with pytest.raises(UserError, match="no model zoo file is in the cache"):
        commands.lock([])


def test_describe(entry):
    text = commands.describe(entry)
    assert "(in the cache)" in text and "not downloaded yet" in text
    commands.lock([])
    assert "bytes" in commands.describe(entry)


def test_the_page_is_the_catalogue(root):
    """MODEL_ZOO.md: python tools/model_zoo.py list --markdown > MODEL_ZOO.md"""
    assert (root / "MODEL_ZOO.md").read_text(encoding="utf-8") == markdown_page()
    for entry in published_weights.ENTRIES.values():
        assert not entry.config or (root / "configs" / entry.config).is_file()
        assert f"`{entry.name}`" in markdown_page()
