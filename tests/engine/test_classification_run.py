"""A whole classification run on single-action videos in UCF101's format."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.engine.metrics import read_metrics
from modist_det.engine.run import run
from modist_det.utils.errors import UserError

CONFIG = """\
TASK: classification
MODEL:
  META_ARCHITECTURE: VideoClassifier
  DEVICE: cpu
  RESNET3D: {DEPTH: 18, WIDTH: 8, STEM_KERNEL: [3, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}
  HEAD: {NAME: ClassificationHead, DROPOUT: 0.0, ACTIVATION: softmax}
  LOSS: {NAME: cross_entropy}
INPUT: {NUM_FRAMES: 4, SAMPLING_RATE: 3, MIN_SIZE_TRAIN: [32, 32], CROP_SIZE: 32, MIN_SIZE_TEST: 32, RANDOM_FLIP: 0.0}
DATASETS: {TRAIN: [ucf101_split1_train], TEST: [ucf101_split1_test]}
DATALOADER: {NUM_WORKERS: 0}
SOLVER: {IMS_PER_BATCH: 4, OPTIMIZER: adamw, BASE_LR: 0.003, MAX_EPOCH: 8.0, CHECKPOINT_PERIOD: 0.0}
TEST: {NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3, CLIPS_PER_FORWARD: 5}
"""


def write_video(path, colour, seed):
    """A second of noise tinted with a colour: an easy class."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=15)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for _ in range(15):
            picture = rng.integers(0, 60, (32, 48, 3)) + np.array(colour)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three classes, 4 + 2 videos of each."""
    root = tmp_path_factory.mktemp("data")
    lists = {"train": [], "test": []}
    classes = {"Red": (150, 0, 0), "Green": (0, 150, 0), "Blue": (0, 0, 150)}
    for number, (name, colour) in enumerate(classes.items(), 1):
        for group in range(1, 7):
            file = f"{name}/v_{name}_g{group:02d}_c01.mp4"
            write_video(root / "ucf101/videos" / file, colour, 10 * number + group)
            lists["train" if group > 2 else "test"].append(f"{file} {number}" if group > 2 else file)
    folder = root / "ucf101/ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes, 1)))
    for subset, rows in lists.items():
        (folder / f"{subset}list01.txt").write_text("\n".join(rows))
    return root


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def configured(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(tree))
    (tmp_path / "config.yaml").write_text(CONFIG)

    def make(*overrides):
        cfg = get_cfg()
        cfg.merge_from_file(tmp_path / "config.yaml")
        cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path / "out"), *map(str, overrides)])
        return cfg

    return make


def figures(output) -> dict:
    return next(
        row for row in reversed(read_metrics(output / "metrics.json")) if "ucf101_split1_test/top1" in row
    )


def test_learns_and_evaluates(configured, tmp_path):
    assert run(configured()) == 0
    row = figures(tmp_path / "out")
    assert row["ucf101_split1_test/top1"] == 1.0
    assert row["ucf101_split1_test/mean_class_accuracy"] == 1.0
    assert row["ucf101_split1_test/top3"] == 1.0
    # 30 views and 1 view are other clips of the same videos.
    assert run(configured("TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1), eval_only=True) == 0


def test_classes_must_agree(configured, tree, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "classInd.txt").write_text("1 Red\n2 Yellow\n")
    (tmp_path / "other.yaml").write_text(
        f"format: ucf101\nvideos: {tree}/ucf101/videos\nannotations: other\nsubset: test\n"
    )
    with pytest.raises(
        UserError, match="class 2 is 'Yellow' in data set .*other.yaml, but 'Green' in ucf101"
    ):
        run(configured("DATASETS.TEST", f"['{tmp_path}/other.yaml']"))


def test_settings_that_do_not_fit(configured):
    with pytest.raises(UserError, match="ucf101_split1_train has 3 classes, but MODEL.NUM_CLASSES is 2"):
        run(configured("MODEL.NUM_CLASSES", 2))
    with pytest.raises(UserError, match="MODEL.HEAD.NAME is RoIActionHead"):
        run(configured("MODEL.HEAD.NAME", "RoIActionHead"))
    with pytest.raises(UserError, match="TEST.VIEW_FUSION is 'sum'; known: mean, max"):
        run(configured("TEST.VIEW_FUSION", "sum"))
