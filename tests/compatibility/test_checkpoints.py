"""Configs and checkpoints of runs of an earlier version still work and give the same numbers; see ``record.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.checkpoint.hashes import content_hashes
from modist_det.config import get_cfg
from modist_det.engine.run import run
from modist_det.engine.train import TrainingState
from modist_det.inference import ActionPredictor
from modist_det.modeling import build_model
from modist_det.structures.class_facts import parse_facts

from .seeded import checkpoint, optimizer_entry, outputs, pixels, state_dict

RECORDED = Path(__file__).parent / "recorded"
NETWORKS = sorted(path.stem for path in RECORDED.glob("*.yaml"))
DETECTORS = [name for name in NETWORKS if name.endswith("detector")]
METHODS = ["byol", "modist", "simclr"]


class Run:
    """The output folder of a recorded run."""

    def __init__(self, name, folder):
        self.recorded = json.loads((RECORDED / f"{name}.json").read_text())
        text = (RECORDED / f"{name}.yaml").read_text()
        self.config = folder / "config.yaml"
        self.config.write_text(text)
        self.content = checkpoint(self.recorded, text)
        self.checkpointer = Checkpointer(folder / "checkpoints")
        self.path = self.checkpointer.save(self.recorded["iteration"], self.content)

    @property
    def evaluated(self):
        """The weights that evaluation takes."""
        return self.content.get("ema", self.content["model"])

    def cfg(self):
        cfg = get_cfg()
        cfg.merge_from_file(self.config)
        return cfg

    def classes(self):
        facts = self.recorded["class_facts"]
        return parse_facts(facts, "recorded") if facts else None


@pytest.fixture
def recorded_run(tmp_path):
    return lambda name: Run(name, tmp_path)


def close(numbers):
    # Equal on the machine that recorded them; other processors round other sums.
    return pytest.approx(numbers, rel=1e-5, abs=1e-6)


def assert_same_tensors(found, expected, prefix=""):
    expected = {name.removeprefix(prefix): expected[name] for name in expected if name.startswith(prefix)}
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_hashes_in_a_checkpoint_are_those_of_before(name, recorded_run):
    run = recorded_run(name)
    hashes = json.dumps(content_hashes(run.content), sort_keys=True)
    assert hashlib.sha256(hashes.encode()).hexdigest() == run.recorded["hash_of_hashes"]


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_load_and_give_the_recorded_numbers(name, recorded_run):
    run = recorded_run(name)
    cfg = run.cfg()
    model = build_model(cfg)
    prefix = "query.visual.backbone." if name in METHODS else ""  # what a checkpoint of pretraining is for
    target = model.pretrained_backbone if prefix else model
    report = load_weights(target, run.path)
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert {name for name, _ in report.dropped} == {
        name for name in run.evaluated if not name.startswith(prefix)
    }
    assert_same_tensors(target.state_dict(), run.evaluated, prefix)
    model.load_state_dict(run.content["model"])
    found = outputs(cfg, model)
    assert set(found) == set(run.recorded["outputs"])
    for output, numbers in run.recorded["outputs"].items():
        assert found[output] == close(numbers), output


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_resumes_with_all_of_its_state(name, recorded_run):
    run = recorded_run(name)
    path, content = run.checkpointer.load_last()
    cfg = run.cfg()
    assert cfg.changes_from(content["config"], str(path)) == []
    state = TrainingState.build(cfg, torch.device("cpu"), content["run"]["samples"], run.classes())
    state.load(content, path)

    assert state.iteration == run.recorded["iteration"]
    assert_same_tensors(state.model.state_dict(), run.content["model"])
    if run.recorded["ema_updates"]:
        assert_same_tensors(state.evaluated_model.state_dict(), run.content["ema"])
    else:
        assert state.averaged is None
    # Optimizers number parameters: each must have got what was kept of it, not of another of its shape.
    optimized = 0
    for parameter_name, parameter in state.model.named_parameters():
        for key, tensor in state.optimizer.state[parameter].items():
            expected = optimizer_entry(parameter_name, key, state.iteration, parameter)
            torch.testing.assert_close(tensor, expected, rtol=0, atol=0, msg=f"{key} of {parameter_name}")
            optimized += 1
    assert optimized == len(run.recorded["parameters"]) * len(run.recorded["optimizer_keys"]) > 0


@pytest.mark.parametrize("name", DETECTORS)
def test_the_predictor_reads_the_checkpoint(name, recorded_run):
    run = recorded_run(name)
    predictor = ActionPredictor.from_checkpoint(run.path.parent.parent)
    actions = predictor(
        pixels("predicted", len(predictor.offsets), 40, 60, 3).numpy(), [[3, 5, 40, 35], [20, 0, 59, 39]]
    )
    assert actions.scores.reshape(-1).tolist() == close(run.recorded["predictor"])
    names = {entry["id"]: entry["name"] for entry in run.recorded["class_facts"]["classes"]}
    assert dict(predictor.class_names) == names


@pytest.mark.parametrize("name", METHODS)
def test_a_detector_starts_from_the_pretrained_backbone(name, recorded_run):
    run = recorded_run(name)
    cfg = run.cfg()
    cfg.TASK, cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.NUM_CLASSES = "detection", "ActionDetector", 4
    model = build_model(cfg)
    report = load_weights(model, run.path)
    assert_same_tensors(model.backbone.state_dict(), run.content["model"], "query.visual.backbone.")
    assert report.missing and all(name.startswith("head.") for name in report.missing)


def test_a_run_of_before_goes_on_training(recorded_run, tiny_puppets, tmp_path, monkeypatch):
    run_before = recorded_run("slow_detector")
    (tmp_path / "scenes").symlink_to(tiny_puppets)
    monkeypatch.chdir(tmp_path)
    cfg = run_before.cfg()
    cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_EPOCH", "1.4", "MODEL.DEVICE", "cpu"])
    assert run(cfg, resume=True) == 0
    steps = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    last = Checkpointer(tmp_path / "checkpoints").last()
    assert last.name > run_before.path.name
    assert any("scenes" in key or "mAP" in key for key in steps[-1])
    assert not torch.equal(
        torch.load(last, weights_only=True)["model"]["head.projection.weight"],
        state_dict(run_before.recorded["model"])["head.projection.weight"],
    )
