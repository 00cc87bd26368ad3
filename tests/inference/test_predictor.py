from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets.records import DetectionRecord
from modist_det.data.mappers import DetectionMapper
from modist_det.inference import ActionPredictor
from modist_det.inference.choose import choose_predictor
from modist_det.inference.class_names import complete_names, names_of_config
from modist_det.inference.predictor import newest_run
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), dtype=np.uint8)


BOXES = np.array([[5, 5, 30, 40], [20, 10, 60, 47]], np.float32)


def test_same_as_evaluation(predictor, tiny_cfg, film, tmp_path):
    """A clip read at ``offsets`` scores as the sample that the evaluation's mapper makes of that keyframe."""
    path = film(tmp_path / "a.mp4", np.arange(40) / 25)
    boxes = np.array([[0.1, 0.2, 0.5, 0.9]], np.float32)
    record = DetectionRecord("a", str(path), 0.7, 0.7, 25.0, boxes, ((),), np.ones(1, np.float32))
    sample = DetectionMapper.from_config(tiny_cfg, is_train=False)(record, np.random.default_rng(0))
    with torch.no_grad():
        (expected,) = predictor.model({"video": sample["video"][None], "boxes": [sample["boxes"]]})
    with open_video(path) as video:
        clip = video.frames_at_times(0.7 + predictor.offsets, short_side=predictor.short_side)
        size = np.array([clip.shape[2], clip.shape[1]] * 2, np.float32)
        actions = predictor(clip, boxes * size)
    np.testing.assert_allclose(actions.scores, expected["scores"].numpy(), rtol=1e-5)
    assert list(actions.class_names.values()) == ["stand", "walk", "run"]
    assert len(actions.top(0, 2)) == 2


def test_any_size_of_clip(predictor, clip):
    """Larger by two in each direction, boxes too: nearly the same scores, and exactly those boxes back."""
    one = predictor(clip, BOXES)
    two = predictor(clip.repeat(2, axis=1).repeat(2, axis=2), BOXES * 2)
    np.testing.assert_allclose(one.scores, two.scores, atol=0.02)
    np.testing.assert_array_equal(two.boxes, BOXES * 2)
    assert np.ptp(one.scores) > 0.2  # the comparison means something


def test_tensor_and_batch(predictor, clip):
    single = predictor(clip, BOXES)
    tensor = torch.from_numpy(clip).permute(3, 0, 1, 2)
    wide = np.concatenate([clip, clip], axis=2)
    results = predictor.predict_batch([tensor, wide, clip, clip], [BOXES, BOXES[:1], [], BOXES[1:]])
    np.testing.assert_allclose(results[0].scores, single.scores, rtol=1e-4)
    assert [r.scores.shape for r in results] == [(2, 3), (1, 3), (0, 3), (1, 3)]
    np.testing.assert_allclose(results[3].scores, single.scores[1:], rtol=1e-4)
    np.testing.assert_allclose(results[1].scores, predictor(wide, BOXES[:1]).scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "boxes", "reason"),
    [
        (
            lambda clip: clip[:3],
            BOXES,
            r"uint8 of shape \(3, 48, 64, 3\); this model takes uint8 RGB, \(4, H, W, 3\)",
        ),
        (lambda clip: clip / 255, BOXES, "float64 of shape"),
        (lambda clip: clip, [[1, 2, 3]], r"boxes are of shape \(1, 3\)"),
        (lambda clip: clip, [[1, 2, np.nan, 4]], "finite"),
    ],
)
def test_bad_input(predictor, clip, change, boxes, reason):
    with pytest.raises(UserError, match=reason):
        predictor(change(clip), boxes)


def test_channels_of_the_label_map(tiny_checkpoint, predictor, clip):
    """A map with gaps: class 3 is channel 2; class 2 is in no result."""
    gaps = ActionPredictor.from_checkpoint(tiny_checkpoint, class_names={3: "run", 1: "stand"})
    np.testing.assert_allclose(gaps(clip, BOXES).scores, predictor(clip, BOXES).scores[:, [0, 2]], rtol=1e-5)
    assert gaps.class_names == {1: "stand", 3: "run"}
    with pytest.raises(UserError, match="class id 9, but the model has 3"):
        ActionPredictor.from_checkpoint(tiny_checkpoint, class_names={9: "x"})


def test_a_run_s_folder(tiny_checkpoint, predictor, clip):
    run = ActionPredictor.from_checkpoint(tiny_checkpoint.parent.parent)
    np.testing.assert_array_equal(run(clip, BOXES).scores, predictor(clip, BOXES).scores)
    assert run.class_names == {1: "class 1", 2: "class 2", 3: "class 3"}


def test_wrong_checkpoints(tiny_cfg, tiny_checkpoint, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        ActionPredictor.from_checkpoint(tmp_path / "none.pth")
    with pytest.raises(UserError, match="folder without a checkpoint"):
        ActionPredictor.from_checkpoint(tmp_path)
    content = torch.load(tiny_checkpoint, weights_only=True)
    torch.save(content["model"], tmp_path / "bare.pth")
    with pytest.raises(UserError, match="has no config"):
        ActionPredictor.from_checkpoint(tmp_path / "bare.pth")
    del content["model"]["head.projection.weight"]
    torch.save(content, tmp_path / "headless.pth")
    with pytest.raises(UserError, match="lacks tensors of the model"):
        ActionPredictor.from_checkpoint(tmp_path / "headless.pth")
    cfg = tiny_cfg.clone()
    with pytest.raises(UserError, match="MODEL.WEIGHTS names no checkpoint"):
        ActionPredictor(cfg)
    cfg.TASK = "pretraining"
    with pytest.raises(UserError, match="TASK pretraining"):
        ActionPredictor(cfg)


def test_a_checkpoint_with_a_config_keeps_its_name(tiny_cfg, tiny_checkpoint, tmp_path, monkeypatch):
    """Also one that could be read as a number."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_checkpoint, "1e5")
    (tmp_path / "c.yaml").write_text(tiny_cfg.dump())
    assert choose_predictor("1e5", cfg="c.yaml", overrides=["MODEL.DEVICE", "cpu"]).source == "1e5"


def test_names_without_the_data(tiny_cfg, tiny_puppets, tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(tmp_path))
    cfg = tiny_cfg.clone()
    assert names_of_config(cfg) == {}
    cfg.DATASETS.TEST = [str(tiny_puppets / "val.yaml")]
    assert names_of_config(cfg) == dict(DatasetCatalog.get(cfg.DATASETS.TEST[0]).metadata.class_names)
    cfg.DATASETS.TEST = ["puppets_val"]
    assert names_of_config(cfg)[8] == "wave"
    cfg.DATASETS.TEST = ["ava_v2.2_val"]
    assert len(names_of_config(cfg)) == 60 and names_of_config(cfg)[80] == "watch (a person)"
    assert complete_names({}, 2) == {1: "class 1", 2: "class 2"}


def test_newest_run(tmp_path):
    assert newest_run(tmp_path) is None
    for number, (name, task) in enumerate([("a", "detection"), ("b", "detection"), ("c", "pretraining")]):
        folder = tmp_path / name / "checkpoints"
        folder.mkdir(parents=True)
        (folder.parent / "config.yaml").write_text(f"SEED: 0\nTASK: {task}\n")
        (folder / "last_checkpoint").write_text("model_0000001.pth\n")
        os.utime(folder / "last_checkpoint", (1000 + number, 1000 + number))
    assert newest_run(tmp_path) == tmp_path / "b"
