"""Whole runs of MoDist pretraining: figures, resuming, hand-over."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.config import get_cfg
from modist_det.engine.metrics import read_metrics
from modist_det.engine.run import run
from modist_det.modeling import build_model
from modist_det.tasks.pretraining import PretrainingTask
from modist_det.utils.errors import UserError

CONFIG = """\
TASK: pretraining
MODEL:
  META_ARCHITECTURE: MoDist
  DEVICE: cpu
  RESNET3D: {DEPTH: 18, WIDTH: 8, STEM_KERNEL: [3, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}
  MOTION_PATHWAY: {DEPTH: 18, WIDTH: 4, STEM_KERNEL: [3, 3, 3], STEM_STRIDE: [1, 2, 2]}
  MODIST: {QUEUE_SIZE: 20, DIM: 16, PROJECTION_HIDDEN: 16, MOMENTUM: 0.9}
MOTION: {NUM_FRAMES: 4}
INPUT:
  {NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [48, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32, CLIP_SHIFT: [0.2, 1.0]}
DATASETS: {TRAIN: [puppets_actions_train], TEST: [puppets_actions_test], GALLERY: [puppets_actions_train]}
DATALOADER: {NUM_WORKERS: 0}
SOLVER: {IMS_PER_BATCH: 8, BASE_LR: 0.05, MAX_EPOCH: 3.0, CHECKPOINT_PERIOD: 1.0, CHECKPOINTS_KEPT: 0}
TEST: {NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 1, EVAL_PERIOD: 2.0}
LOG_PERIOD: 1
"""


@pytest.fixture
def config(tiny_actions, tmp_path, monkeypatch):
    """``config(NAME, KEY, VALUE, ...)`` -> a config whose output goes to ``tmp_path/NAME``."""
    monkeypatch.setenv("MODIST_DATASETS", str(tiny_actions))
    (tmp_path / "config.yaml").write_text(CONFIG)

    def make(name, *overrides):
        cfg = get_cfg()
        cfg.merge_from_file(tmp_path / "config.yaml")
        cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path / name), *map(str, overrides)])
        return cfg

    return make


def checkpoints(folder):
    return [torch.load(path, weights_only=True) for path in sorted((folder / "checkpoints").glob("*.pth"))]


def test_a_run_reports_terms_and_neighbours_and_resumes_exactly(config, tmp_path):
    assert run(config("out")) == 0
    rows = read_metrics(tmp_path / "out/metrics.json")
    terms = ("visual_visual", "visual_motion", "motion_visual")
    logged = [row for row in rows if "loss" in row]
    for row in logged:
        assert row["loss"] == pytest.approx(sum(row[f"loss_{term}"] for term in terms))
        assert all(0 <= row[f"accuracy_{term}"] <= 1 for term in terms)
        assert all(-1 <= row[f"{sign}_{term}"] <= 1 for term in terms for sign in ("positive", "negative"))
    judged = [row for row in rows if "puppets_actions_test/knn" in row]
    assert [row["iteration"] for row in judged] == [6, 9]  # every 2 epochs of 3 steps, and at the end
    for name in ("knn", "R@1", "R@5", "R@10", "R@20", "linear"):
        assert 0 <= judged[-1][f"puppets_actions_test/{name}"] <= 1
    assert "puppets_actions_test/R@50" not in judged[-1]  # the gallery has 24 videos

    # Going on after the first epoch: the same weights, momentum encoders, queues and figures.
    straight = checkpoints(tmp_path / "out")
    state = straight[-1]["model"]
    assert int(state["queue.visual.position"]) == (9 * 8) % 20
    halves = config("halves", "SOLVER.MAX_EPOCH", 3)
    (tmp_path / "halves/checkpoints").mkdir(parents=True)
    first = sorted((tmp_path / "out/checkpoints").glob("*.pth"))[0]
    (tmp_path / "halves/checkpoints" / first.name).write_bytes(first.read_bytes())
    (tmp_path / "halves/checkpoints/last_checkpoint").write_text(first.name)
    run(halves, resume=True)
    resumed = checkpoints(tmp_path / "halves")[-1]
    assert resumed["iteration"] == straight[-1]["iteration"] == 9
    assert any(name.startswith("key.motion.") for name in state)
    for name, tensor in state.items():
        assert torch.equal(tensor, resumed["model"][name]), name
    again = [r for r in read_metrics(tmp_path / "halves/metrics.json") if "puppets_actions_test/knn" in r]
    assert again[-1]["puppets_actions_test/knn"] == judged[-1]["puppets_actions_test/knn"]


def test_what_was_learned_is_judged_alone_and_handed_over(config, tmp_path, tiny_puppets):
    run(config("out", "SOLVER.MAX_EPOCH", 1, "TEST.EVAL_PERIOD", 0))
    (weights,) = (tmp_path / "out/checkpoints").glob("*.pth")
    before = read_metrics(tmp_path / "out/metrics.json")[-1]
    assert run(config("alone", "MODEL.WEIGHTS", weights), eval_only=True) == 0
    log = (tmp_path / "alone/log.txt").read_text()
    assert f"knn       {before['puppets_actions_test/knn']:.4f}".split() == next(
        line.split()[-2:] for line in log.splitlines() if " knn " in line
    )

    detector = get_cfg()
    detector.merge_from_file(tmp_path / "config.yaml")
    detector.merge_from_list(["MODEL.META_ARCHITECTURE", "ActionDetector", "MODEL.NUM_CLASSES", "3"])
    model = build_model(detector)
    report = load_weights(model, weights)
    state = torch.load(weights, weights_only=True)["model"]
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, state[f"query.visual.backbone.{name}"])
    assert not report.unexpected and not report.mismatched
    assert all(name.startswith("head.") for name in report.missing)


def test_pretraining_starts_from_a_backbone(config, tmp_path):
    short = ("SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])
    run(config("first", *short))
    (weights,) = (tmp_path / "first/checkpoints").glob("*.pth")
    run(config("second", *short, "MODEL.WEIGHTS", weights, "SOLVER.BASE_LR", 0, "MODEL.MODIST.MOMENTUM", 1.0))
    first, second = (checkpoints(tmp_path / name)[-1]["model"] for name in ("first", "second"))
    convolution = "visual.backbone.stem.conv.weight"
    for side in ("query", "key"):  # nothing moved: the keys began where the queries did
        assert torch.equal(second[f"{side}.{convolution}"], first[f"query.{convolution}"])
    assert not torch.equal(first[f"key.{convolution}"], first[f"query.{convolution}"])


@pytest.mark.parametrize(("method", "section"), [("BYOL", "BYOL"), ("SimCLR", "SIMCLR")])
def test_other_methods_train_and_hand_over_their_backbone(config, tmp_path, method, section):
    own = {"DIM": 8, "PROJECTION_HIDDEN": 16, "CROSS_WEIGHT": 1.0}
    keys = [word for key, value in own.items() for word in (f"MODEL.{section}.{key}", value)]
    short = ("SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])
    assert run(config("out", "MODEL.META_ARCHITECTURE", method, *keys, *short)) == 0
    (weights,) = (tmp_path / "out/checkpoints").glob("*.pth")
    trained = torch.load(weights, weights_only=True)["model"]
    model = build_model(
        config("detector", "MODEL.META_ARCHITECTURE", "ActionDetector", "MODEL.NUM_CLASSES", 3)
    )
    report = load_weights(model, weights)
    assert all(name.startswith("head.") for name in report.missing) and not report.unexpected
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, trained[f"query.visual.backbone.{name}"])


@pytest.mark.parametrize("kind", ["edges", "flow"])
def test_motion_regression_trains_on_one_clip_a_video_and_hands_over_its_backbone(config, tmp_path, kind):
    method = ("MODEL.META_ARCHITECTURE", "MotionRegression", "MOTION.KIND", kind)
    short = ("SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])
    assert run(config("out", *method, *short)) == 0
    rows = read_metrics(tmp_path / "out/metrics.json")
    assert all(row["explained"] == pytest.approx(1 - row["loss_motion"]) for row in rows if "loss" in row)
    (weights,) = (tmp_path / "out/checkpoints").glob("*.pth")
    model = build_model(
        config("detector", "MODEL.META_ARCHITECTURE", "ActionDetector", "MODEL.NUM_CLASSES", 3)
    )
    report = load_weights(model, weights)
    assert all(name.startswith("head.") for name in report.missing)
    trained = torch.load(weights, weights_only=True)["model"]
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, trained[f"backbone.{name}"])


@pytest.mark.parametrize("changes", [["MODEL.MODIST.CROSS_WEIGHT", 0], ["MOTION.KIND", "flow"]])
def test_rgb_alone_and_raw_flow_train(config, tmp_path, changes):
    assert (
        run(config("out", *changes, "SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])) == 0
    )
    (checkpoint,) = checkpoints(tmp_path / "out")
    stem = checkpoint["model"].get("query.motion.backbone.stem.conv.weight")
    assert stem is None if changes[1] == 0 else stem.shape[1] == 2


def test_decoded_frames_are_kept_and_train_alike(config, tmp_path):
    short = ("SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])
    for name, cache in (("plain", ""), ("filled", tmp_path / "frames"), ("kept", tmp_path / "frames")):
        run(config(name, *short, "DATALOADER.FRAME_CACHE", cache))
    plain, filled, kept = (checkpoints(tmp_path / name)[-1]["model"] for name in ("plain", "filled", "kept"))
    assert len(list((tmp_path / "frames").glob("*.frames"))) == 24
    for name, tensor in plain.items():
        assert torch.equal(tensor, filled[name]) and torch.equal(tensor, kept[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["DATASETS.GALLERY", []], "set both to labelled datasets, or neither"),
        (["DATASETS.GALLERY", ["puppets_actions_test"]], "a video would retrieve itself"),
        (
            ["DATASETS.TEST", ["puppets_actions_test"] * 2],
            "two of DATASETS.TEST are called 'puppets_actions_test'",
        ),
        (["MOTION.ENABLED", False], "MODEL.MODIST has terms with motion"),
        (["MOTION.KIND", "edge"], "did you mean 'edges'"),
    ],
)
def test_settings_that_contradict_each_other(config, changes, message):
    with pytest.raises(UserError, match=message):
        run(config("out", *changes))


def test_two_data_sets_may_have_videos_of_one_name(tmp_path):
    for name in ("seen", "unseen"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run/1.mp4").touch()
        (tmp_path / f"{name}.yaml").write_text(f"format: class_folders\nvideos: {name}\n")
    seen, unseen = (str(tmp_path / f"{name}.yaml") for name in ("seen", "unseen"))
    task = PretrainingTask([], test=[unseen], gallery=[seen])
    evaluator = task.evaluator(get_cfg(), unseen, tmp_path)
    ids = [record.id for record in task.test_data(get_cfg(), unseen)[0]]
    assert len(set(ids)) == 2
    evaluator.process({"id": ids}, [{"features": torch.tensor([1.0, 2.0])}] * 2)
    assert evaluator.evaluate()["knn"] == 1.0
    with pytest.raises(UserError, match="a video would retrieve itself"):
        PretrainingTask([], test=[unseen], gallery=[seen, unseen]).evaluator(get_cfg(), unseen, tmp_path)


@pytest.mark.parametrize("method", ["MoDist", "SimCLR"])
def test_the_motion_pathway_starts_from_that_of_another_run(config, tmp_path, method):
    short = ("SOLVER.MAX_EPOCH", 1, "DATASETS.TEST", [], "DATASETS.GALLERY", [])
    run(config("first", *short))
    words = ("MODEL.META_ARCHITECTURE", method, "MODEL.SIMCLR.CROSS_WEIGHT", 1.0)
    run(
        config(
            "second", *short, *words, "MODEL.MOTION_PATHWAY.WEIGHTS", tmp_path / "first", "SOLVER.BASE_LR", 0
        )
    )
    first, second = (checkpoints(tmp_path / name)[-1]["model"] for name in ("first", "second"))
    convolution = "motion.backbone.stem.conv.weight"
    for side in ("query", "key") if method == "MoDist" else ("query",):
        assert torch.equal(second[f"{side}.{convolution}"], first[f"query.{convolution}"])
    assert not torch.equal(*(state["query.visual.backbone.stem.conv.weight"] for state in (first, second)))
    assert "query.motion.backbone: loaded" in (tmp_path / "second/log.txt").read_text()
