"""A whole classification run on single-action videos in UCF101's format."""

from __future__ import annotations

import io
import os
import zipfile

import av
import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modist_det.analysis.linear_probe import probe
from modist_det.analysis.neighbours import show_neighbours
from modist_det.config import get_cfg
from modist_det.data.classification import ClassificationMapper
from modist_det.engine.metrics import read_metrics
from modist_det.engine.run import run
from modist_det.modeling import build_model
from modist_det.tasks import build_task
from modist_det.utils.errors import UserError
from modist_det.video.reader import VideoError

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
        UserError, match="class index 1 is 'Green' in dataset ucf101.*, but 'Yellow' in dataset .*other.yaml"
    ):
        run(configured("DATASETS.TEST", f"['{tmp_path}/other.yaml']"))


def test_settings_that_do_not_fit(configured, tmp_path):
    (tmp_path / "labels.json").write_text('["Red", "Green", "Blue"]')
    (tmp_path / "s.yaml").write_text("format: ssv2\nvideos: .\nannotations: none.json\nlabels: labels.json\n")
    with pytest.raises(
        UserError, match="INPUT.RANDOM_FLIP is 0.5, but classes of dataset .*s.yaml tell left"
    ):
        run(configured("DATASETS.TRAIN", f"['{tmp_path}/s.yaml']", "INPUT.RANDOM_FLIP", 0.5))
    with pytest.raises(UserError, match="ucf101_split1_train has 3 classes, but MODEL.NUM_CLASSES is 2"):
        run(configured("MODEL.NUM_CLASSES", 2))
    with pytest.raises(UserError, match="MODEL.HEAD.NAME RoIActionHead is for detection"):
        run(configured("MODEL.HEAD.NAME", "RoIActionHead"))
    with pytest.raises(UserError, match="TEST.VIEW_FUSION is 'sum'; known: mean, max"):
        run(configured("TEST.VIEW_FUSION", "sum"))


def test_all_augmentations_together(configured, tmp_path):
    switches = ("INPUT.MIX.ENABLED", True, "INPUT.REPEATS", 2, "INPUT.RAND_AUGMENT.NUM_OPS", 2)
    switches += ("INPUT.ERASE_PROB", 0.25, "MODEL.LOSS.LABEL_SMOOTHING", 0.1, "SOLVER.MAX_EPOCH", 1)
    assert run(configured(*switches)) == 0
    assert figures(tmp_path / "out")


def test_several_labels_are_learned_one_by_one(configured, tree, tmp_path):
    """Blue and Green videos are also "cold" (class 3), with a sigmoid for each class."""
    root = tree / "ucf101/videos"
    labels = {"Red": "0", "Green": "1 3", "Blue": "2 3"}
    for name, groups in (("train", range(3, 7)), ("test", range(1, 3))):
        rows = [f"{c}/v_{c}_g{g:02d}_c01.mp4 {numbers}" for c, numbers in labels.items() for g in groups]
        (tmp_path / f"{name}.txt").write_text("\n".join(rows))
        (tmp_path / f"{name}.yaml").write_text(
            f"format: video_list\nvideos: {root}\nannotations: {name}.txt\ncolumns: path labels\n"
        )
    sets = ("DATASETS.TRAIN", f"['{tmp_path}/train.yaml']", "DATASETS.TEST", f"['{tmp_path}/test.yaml']")
    for half in ((), ("MODEL.HEAD.ACTIVATION", "sigmoid"), ("MODEL.LOSS.NAME", "bce_with_logits")):
        with pytest.raises(UserError, match="has videos with several labels"):
            run(configured(*sets, *half))
    sigmoid = ("MODEL.HEAD.ACTIVATION", "sigmoid", "MODEL.LOSS.NAME", "bce_with_logits")
    assert run(configured(*sets, *sigmoid, "SOLVER.MAX_EPOCH", 12)) == 0
    row = read_metrics(tmp_path / "out/metrics.json")[-1]
    assert row["test/mAP"] > 0.95


def test_pictures_while_training(configured, tmp_path):
    """Videos of the test set, four moments each; they are green at the end, when all are right."""
    assert run(configured("PICTURE_PERIOD", 4)) == 0
    events = EventAccumulator(str(tmp_path / "out/tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == ["classes"]
    before, after = events.Images("classes")
    assert before.step * 2 == after.step
    picture = cv2.imdecode(np.frombuffer(after.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] % 6 == 0 and picture.shape[1] == 4 * 160
    for row in range(6):
        middle = picture[row * len(picture) // 6 + 22 + 80]
        assert [middle[x].argmax() for x in (0, 160, 320, 480)] == [1, 1, 1, 1]


def test_neighbours_are_drawn(configured, tmp_path):
    """Red, Green and Blue videos are alike whatever the weights: borders are green, and features are kept."""
    out = tmp_path / "n.png"
    show_neighbours(configured(), out, num_queries=3, count=2)
    picture = cv2.imread(str(out))[..., ::-1].astype(int)
    assert picture.shape[1] == 3 * 160
    rows = np.linspace(0, len(picture), 4).astype(int)
    for top, bottom, channel in zip(rows[:-1], rows[1:], (0, 1, 2), strict=True):
        middle = (top + bottom) // 2 + 11
        assert picture[middle, 160].argmax() == picture[middle, 320].argmax() == 1
        assert {int(picture[middle, x].argmax()) for x in (80, 240, 400)} == {channel}
    assert len(list((tmp_path / "out/features").glob("*.npz"))) == 2
    with pytest.raises(UserError, match="a search for neighbours needs both DATASETS.TRAIN and"):
        show_neighbours(configured("DATASETS.TEST", "[]"), out)


class TestLinearProbe:
    def features(self, tmp_path):
        return sorted(path.name for path in (tmp_path / "out/features").glob("*.npz"))

    def test_features_are_extracted_once(self, configured, tmp_path, monkeypatch):
        figures = probe(configured())["ucf101_split1_test"]
        assert figures["top1"] == 1.0 and "top3" not in figures
        files = self.features(tmp_path)
        assert [name.rpartition("-")[0] for name in files] == ["ucf101_split1_test", "ucf101_split1_train"]
        content = np.load(tmp_path / "out/features" / files[1])
        assert content["features"].shape == (12, 64) and content["numbers"].tolist() == list(range(12))
        # Another solver and another share of labels need the same features, also where no video can be opened.
        monkeypatch.setattr("modist_det.analysis.linear_probe.inference_on_dataset", None)
        again = probe(configured("SOLVER.BASE_LR", 5.0, "DATASETS.TRAIN_SHARE", 0.25))["ucf101_split1_test"]
        assert again.keys() == figures.keys() and again["top1"] > 0.5
        assert self.features(tmp_path) == files

    def test_other_views_or_weights_are_other_features(self, configured, tmp_path):
        probe(configured())
        files = self.features(tmp_path)
        probe(configured("TEST.NUM_ENSEMBLE_VIEWS", 1))
        probe(configured("SEED", 1))  # weights
        assert len(self.features(tmp_path)) == 3 * len(files)

    def test_damaged_features_and_those_of_changed_videos_are_made_again(self, configured, tmp_path, tree):
        first = probe(configured())
        files = sorted((tmp_path / "out/features").glob("*.npz"))
        whole = files[0].read_bytes()
        bomb, many = io.BytesIO(), io.BytesIO()
        np.savez_compressed(bomb, features=np.zeros((1000, 1000), np.float32), numbers=np.arange(1000))
        # An array that says it has 2^40 rows.
        with zipfile.ZipFile(many, "w") as archive:
            for name in ("features.npy", "numbers.npy"):
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 64)}
                )
                archive.writestr(name, header.getvalue())
        damaged = (b"", whole[:300], whole[:-30], whole[:300] + b"damaged" + whole[307:])
        for content in (*damaged, bomb.getvalue(), many.getvalue()):
            files[0].write_bytes(content)
            assert probe(configured()) == first
            assert np.load(files[0])["features"].shape == (6, 64)  # whole again
        video = next((tree / "ucf101/videos").rglob("*.mp4"))
        os.utime(video, (1, 1))
        probe(configured())
        assert len(self.features(tmp_path)) == 3

    def test_features_are_the_mean_over_views_of_the_pooled_maps(self, configured, tmp_path):
        cfg = configured()
        probe(cfg)
        content = np.load(tmp_path / "out/features" / self.features(tmp_path)[0])
        torch.manual_seed(cfg.SEED)
        model = build_model(cfg).eval()
        task = build_task(cfg)
        records, mapper = task.test_data(cfg, "ucf101_split1_test")
        clips = mapper(records[2], np.random.default_rng(0))["video"]
        with torch.no_grad():
            (maps,) = model.backbone(model.normalizer(clips))
        np.testing.assert_allclose(
            content["features"][2], maps.mean(dim=(0, 2, 3, 4)).numpy(), rtol=1e-4, atol=1e-5
        )

    def test_what_cannot_be_probed(self, configured, monkeypatch):
        def unreadable(mapper, record, rng):
            raise VideoError(record.video, "gone")

        with pytest.raises(UserError, match="a linear probe needs both DATASETS.TRAIN and DATASETS.TEST"):
            probe(configured("DATASETS.TRAIN", "[]"))
        monkeypatch.setattr(ClassificationMapper, "__call__", unreadable)
        with pytest.raises(UserError, match="no video of ucf101_split1_train could be read: "):
            probe(configured("DATALOADER.MAX_BAD_VIDEO_RATE", 1.0))


def test_a_frozen_backbone_stays_as_it_is(configured, tmp_path):
    weights = tmp_path / "weights.pth"
    cfg = configured()
    cfg.MODEL.NUM_CLASSES = 3
    torch.manual_seed(7)
    model = build_model(cfg)
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    torch.save({"model": model.state_dict()}, weights)
    switches = ("MODEL.WEIGHTS", weights, "MODEL.BACKBONE.FREEZE", True, "SOLVER.MAX_EPOCH", 1)
    assert run(configured(*switches)) == 0
    (checkpoint,) = (tmp_path / "out/checkpoints").glob("*.pth")
    after = torch.load(checkpoint, weights_only=True)["model"]
    assert before and all(torch.equal(after[f"backbone.{name}"], tensor) for name, tensor in before.items())
    assert not torch.equal(after["head.projection.weight"], model.head.projection.weight)
