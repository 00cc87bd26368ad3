"""Tiny trained models, as in tests/inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modist_det.config import CfgNode, get_cfg
from modist_det.modeling import build_model
from modist_det.structures.class_facts import ClassFacts
from modist_det.video.writer import VideoWriter

SMALL = (
    ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.RESNET3D.STEM_KERNEL", [1, 3, 3]]
    + ["MODEL.DEVICE", "cpu", "MODEL.HEAD.INIT_STD", 1.0, "MODEL.NUM_CLASSES", 3]
    + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
)
CLASSIFIER = (
    ["TASK", "classification", "MODEL.META_ARCHITECTURE", "VideoClassifier"]
    + ["MODEL.HEAD.NAME", "ClassificationHead", "MODEL.HEAD.ACTIVATION", "softmax"]
    + ["MODEL.LOSS.NAME", "cross_entropy", "TEST.NUM_ENSEMBLE_VIEWS", 2]
)


def write_run(folder: Path, settings: list) -> Path:
    """What training leaves: a checkpoint with config and class names."""
    cfg: CfgNode = get_cfg()
    cfg.merge_from_list(SMALL + settings)
    first = 1 if cfg.TASK == "detection" else 0
    facts = ClassFacts(cfg.TASK, 3, dict(enumerate(["jump", "run", "<b>walk</b>"], start=first)))
    (folder / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    state = {"model": build_model(cfg).state_dict(), "config": cfg.dump(), "class_facts": facts.to_dict()}
    torch.save(state, folder / "checkpoints" / "model_0000007.pth")
    (folder / "checkpoints" / "last_checkpoint").write_text("model_0000007.pth\n")
    return folder


@pytest.fixture(scope="session")
def detector_run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "detector", [])


@pytest.fixture(scope="session")
def classifier_run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "classifier", CLASSIFIER)


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Two seconds at 10 frames a second: a bright square that moves to the right on grey."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 48, 64, rate=10) as writer:
        for number in range(20):
            image = np.full((48, 64, 3), 90, np.uint8)
            image[16:32, 4 + number : 20 + number] = 255
            writer.write(image, number / 10)
    return path


@pytest.fixture(scope="session")
def boxes(clip) -> Path:
    """The square's boxes, as a csv of person boxes every half second."""
    path = clip.with_suffix(".csv")
    rows = [
        f"clip,{second:g},{(4 + 10 * second) / 64:.4f},{16 / 48:.4f},{(20 + 10 * second) / 64:.4f},{32 / 48:.4f},,0.9"
        for second in np.arange(0, 2, 0.5).tolist()
    ]
    path.write_text("\n".join(rows) + "\n")
    return path
