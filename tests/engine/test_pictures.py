"""Pictures of a run in its TensorBoard file."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modist_det.config import get_cfg
from modist_det.engine.run import run
from modist_det.utils.errors import UserError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(path, output, *overrides):
    cfg = get_cfg()
    cfg.merge_from_file(path)
    cfg.merge_from_list(["OUTPUT_DIR", str(output), "MODEL.DEVICE", "cpu", *map(str, overrides)])
    return run(cfg)


def pictures(output) -> dict[str, dict[int, np.ndarray]]:
    """By name and step."""
    events = EventAccumulator(str(output / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    return {
        tag: {e.step: np.asarray(Image.open(io.BytesIO(e.encoded_image_string))) for e in events.Images(tag)}
        for tag in events.Tags()["images"]
    }


def weights(output) -> dict[str, torch.Tensor]:
    folder = output / "checkpoints"
    path = folder / (folder / "last_checkpoint").read_text().strip()
    return torch.load(path, weights_only=True)["model"]


def test_detections_while_training(write_config, tmp_path):
    plain, drawn = tmp_path / "plain", tmp_path / "drawn"
    assert train(write_config(), plain) == 0
    assert train(write_config(), drawn, "PICTURE_PERIOD", 2) == 0
    assert pictures(plain) == {}
    (found,) = pictures(drawn).values()
    assert list(pictures(drawn)) == ["detections"]
    steps = sorted(found)
    last = steps[-1]
    # Every two epochs and after the last of three.
    assert len(steps) == 2 and steps[0] == round(last * 2 / 3)
    # Two rows of three keyframes, whose scores have changed.
    assert found[last].shape == found[steps[0]].shape and found[last].shape[1] == 3 * 360
    assert (found[last] != found[steps[0]]).any()
    for name, tensor in weights(plain).items():
        assert torch.equal(tensor, weights(drawn)[name]), name


def test_clips_of_pretraining(tiny_puppets, tmp_path):
    config = tmp_path / "modist.yaml"
    config.write_text(
        f"""\
TASK: pretraining
MODEL:
  META_ARCHITECTURE: MoDist
  RESNET3D: {{DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}}
  MOTION_PATHWAY: {{DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], STEM_STRIDE: [1, 2, 2]}}
  MODIST: {{QUEUE_SIZE: 16, PROJECTION_HIDDEN: 16, DIM: 8}}
MOTION: {{NUM_FRAMES: 4, SHORT_SIDE: 32}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 4, CROP_SIZE: 32, MIN_SIZE_TEST: 40}}
DATASETS: {{TRAIN: [{tiny_puppets}/train.yaml]}}
DATALOADER: {{NUM_WORKERS: 0}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 2.0}}
"""
    )
    assert train(config, tmp_path / "out", "PICTURE_PERIOD", 1) == 0
    found = pictures(tmp_path / "out")
    assert list(found) == ["clips"] and len(found["clips"]) == 2
    first, second = (found["clips"][step] for step in sorted(found["clips"]))
    # Of three videos two clips, each with its motion.
    assert first.shape == (3 * 4 * (22 + 120), 4 * 120, 3)
    assert (first != second).any()


def test_a_task_without_pictures_says_so(write_config, tmp_path, monkeypatch):
    from modist_det.tasks.detection import DetectionTask

    monkeypatch.delattr(DetectionTask, "pictures")
    with pytest.raises(UserError, match="PICTURE_PERIOD is 1.0, but TASK detection has no images to draw"):
        train(write_config(), tmp_path / "out", "PICTURE_PERIOD", 1)
