"""Datasets and checkpoints that number classes differently do not meet without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from modist_det.checkpoint import load_weights
from modist_det.config import get_cfg
from modist_det.engine.run import run
from modist_det.engine.train import TrainingState
from modist_det.inference import ActionPredictor
from modist_det.modeling import build_model
from modist_det.puppets.labels import CLASS_NAMES
from modist_det.structures.class_facts import ClassFacts, parse_facts
from modist_det.tasks import build_task
from modist_det.utils.errors import UserError

REVERSED = {13 - number: name for number, name in CLASS_NAMES.items()}
OTHERS = {number: f"dish {number}" for number in CLASS_NAMES}


@pytest.fixture(scope="module")
def renamed(tiny_puppets, tmp_path_factory):
    """``renamed(names)`` -> ``val.yaml`` of the tiny set with another label map."""

    def write(names: dict[int, str]) -> str:
        folder = tmp_path_factory.mktemp("renamed")
        lines = [f'item {{ name: "{name}" id: {number} }}' for number, name in names.items()]
        (folder / "labels.pbtxt").write_text("\n".join(lines))
        description = yaml.safe_load((tiny_puppets / "val.yaml").read_text())
        description |= {"videos": str(tiny_puppets / "videos"), "label_map": str(folder / "labels.pbtxt")}
        description |= {"annotations": str(tiny_puppets / "val.csv"), "name": "renamed"}
        description.pop("person_boxes", None)
        (folder / "val.yaml").write_text(yaml.safe_dump(description))
        return str(folder / "val.yaml")

    return write


@pytest.fixture
def configured(write_config, tmp_path):
    def configure(*overrides):
        cfg = get_cfg()
        cfg.merge_from_file(write_config())
        cfg.merge_from_list(
            ["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.DEVICE", "cpu", *map(str, overrides)]
        )
        return cfg

    return configure


def checkpoint_for(cfg, path, names: dict[int, str] | None):
    """What training writes for a model of these classes, with a head that is easy to recognise."""
    cfg = cfg.clone()
    cfg.MODEL.NUM_CLASSES = 12
    facts = names and ClassFacts("detection", 12, names)
    state = TrainingState.build(cfg, torch.device("cpu"), 1, facts or None)
    torch.nn.init.constant_(state.model.head.projection.weight, 0.5)
    torch.save(state.state_dict(cfg, 3), path)
    return path


@pytest.mark.parametrize("sets", ["TEST", "TRAIN"])
def test_datasets_against_each_other(configured, renamed, sets, tmp_path):
    cfg = configured()
    cfg.DATASETS[sets] = [*cfg.DATASETS[sets], renamed(REVERSED)]
    with pytest.raises(
        UserError, match="class id 1 is 'stand' in dataset .*, but 'kick' in dataset .*renamed"
    ):
        run(cfg)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_evaluation_against_the_checkpoint(configured, renamed, tmp_path):
    cfg = configured("DATASETS.TRAIN", "[]")
    cfg.DATASETS.TEST = [renamed(REVERSED)]
    cfg.MODEL.WEIGHTS = str(checkpoint_for(cfg, tmp_path / "model.pth", CLASS_NAMES))
    with pytest.raises(
        UserError, match=r"class id 1 is 'stand' in .*model.pth, but 'kick' in dataset .*renamed"
    ):
        run(cfg, eval_only=True)


def test_evaluation_of_a_checkpoint_without_names(configured, tmp_path, caplog):
    """Those of early releases: evaluated, and the log says what is taken for granted."""
    cfg = configured("DATASETS.TRAIN", "[]")
    cfg.MODEL.WEIGHTS = str(checkpoint_for(cfg, tmp_path / "model.pth", None))
    assert run(cfg, eval_only=True) == 0
    assert "its classes are assumed to be those of the data" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("names", "loaded"), [(CLASS_NAMES, True), (OTHERS, False), (None, True), ({1: "stand"}, True)]
)
def test_fine_tuning(configured, tmp_path, names, loaded):
    """A head of other classes starts anew, as it does where their number differs; the backbone is loaded."""
    cfg = configured()
    path = checkpoint_for(cfg, tmp_path / "model.pth", names)
    cfg.MODEL.NUM_CLASSES = 12
    model = build_model(cfg)
    report = load_weights(model, path, classes=build_task(cfg).class_facts())
    assert bool((model.head.projection.weight == 0.5).all()) is loaded
    assert any(name.startswith("backbone.") for name in report.loaded)
    assert any(reason == "the head is for other classes" for _, reason in report.dropped) is not loaded


def test_fine_tuning_and_resuming_from_another_numbering(configured, tmp_path):
    cfg = configured()
    path = checkpoint_for(cfg, tmp_path / "model.pth", REVERSED)
    cfg.MODEL.WEIGHTS = str(path)
    with pytest.raises(
        UserError, match="class id 1 is 'kick' in .*model.pth, but 'stand'.*number the classes as"
    ):
        run(cfg)
    folder = tmp_path / "out" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / "model_0000003.pth")
    with pytest.raises(UserError, match="class id 1 is 'kick' in .*model_0000003.pth, but 'stand'"):
        run(cfg, resume=True)


def test_a_checkpoint_carries_its_facts(configured, tmp_path):
    cfg = configured()
    task = build_task(cfg)
    task.complete_config(cfg)
    state = TrainingState.build(cfg, torch.device("cpu"), 1, task.class_facts())
    content = state.state_dict(cfg, 3)
    facts = parse_facts(content["class_facts"], "x")
    assert facts.names == CLASS_NAMES and facts.num_classes == 12 and facts.task == "detection"
    assert facts.keyframes is not None and facts.keyframes.spacing == 1 and facts.keyframes.first_second == 0


def test_an_evaluation_of_nothing_is_no_result(configured, renamed, tiny_puppets, tmp_path):
    """Keyframes without people only; and videos that are all damaged, whatever share may be."""
    cfg = configured("DATASETS.TRAIN", "[]", "DATALOADER.MAX_BAD_VIDEO_RATE", 1.0)
    cfg.MODEL.WEIGHTS = str(checkpoint_for(cfg, tmp_path / "model.pth", CLASS_NAMES))
    cfg.DATASETS.TEST = [renamed(CLASS_NAMES)]
    description = Path(cfg.DATASETS.TEST[0])
    settings = yaml.safe_load(description.read_text())
    (tmp_path / "empty.csv").write_text("val_0000,0\n")
    description.write_text(yaml.safe_dump(settings | {"annotations": str(tmp_path / "empty.csv")}))
    with pytest.raises(UserError, match="has nothing to evaluate: .*no keyframe with a person box"):
        run(cfg.clone(), eval_only=True)
    for path in (tiny_puppets / "videos").glob("val_*"):
        (tmp_path / path.name).write_bytes(b"no video")
    description.write_text(yaml.safe_dump(settings | {"videos": str(tmp_path)}))
    with pytest.raises(UserError, match="no clip could be read, so there is no result: .*val_0000"):
        run(cfg.clone(), eval_only=True)


def test_the_predictor_uses_the_checkpoint_s_names(configured, renamed, tmp_path, caplog):
    """Whatever the dataset of that name holds where it is used; a given label map has to agree."""
    cfg = configured()
    cfg.DATASETS.TEST = [renamed(OTHERS)]
    path = checkpoint_for(cfg, tmp_path / "model.pth", CLASS_NAMES)
    assert ActionPredictor.from_checkpoint(path).class_names == CLASS_NAMES
    assert ActionPredictor.from_checkpoint(path, class_names={2: "Walk"}).class_names == {2: "Walk"}
    with pytest.raises(
        UserError, match=r"class id 1 is 'stand' in .*model.pth, but 'dish 1' in the label map"
    ):
        ActionPredictor.from_checkpoint(path, class_names=OTHERS)
    caplog.clear()
    old = checkpoint_for(cfg, tmp_path / "old.pth", None)
    assert ActionPredictor.from_checkpoint(old).class_names == OTHERS
    assert "which may not be the right ones: check them" in caplog.text
