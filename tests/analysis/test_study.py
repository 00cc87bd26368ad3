"""A study from its file to its tables."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from modist_det.analysis.study import (
    PYRAMID,
    UNTRAINED,
    collect,
    pyramid_features,
    read_study,
    run_study,
)
from modist_det.analysis.study_report import draw_study, paired_bootstrap, study_tables
from modist_det.config import get_cfg
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.classification import ClassificationMapper
from modist_det.engine.evaluate import evaluate_only
from modist_det.engine.metrics import read_metrics
from modist_det.evaluation.linear_probe import fit_linear_probe
from modist_det.modeling import build_model
from modist_det.motion import build_motion_reader
from modist_det.tasks import build_task
from modist_det.utils.errors import UserError
from modist_det.video.info import output_size
from modist_det.video.reader import open_video

TIMED = "regression, one epoch, time of MoDist, one epoch"

NET = """\
  RESNET3D: {DEPTH: 18, WIDTH: 4, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}
INPUT: {NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [48, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}
DATALOADER: {NUM_WORKERS: 0, FRAME_CACHE: FOLDER/frames}
SOLVER: {IMS_PER_BATCH: 12, BASE_LR: 0.01, MAX_EPOCH: 1.0}
TEST: {NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 1}
"""
STUDY = """\
output: {folder}/out
seeds: [3]
datasets:
  puppets: {{train: puppets_actions_train, test: puppets_actions_test}}
methods:
  regression: {{cfg: {folder}/pretrain.yaml, options: {{MODEL.MOTION_REGRESSION.GRID: [1, 2, 2]}}}}
  MoDist: {{cfg: {folder}/pretrain.yaml, options: {{MODEL.META_ARCHITECTURE: MoDist, MODEL.MODIST.QUEUE_SIZE: 24}}}}
options: {{SOLVER.WARMUP_EPOCHS: 0.0}}
budgets:
  one epoch: {{SOLVER.MAX_EPOCH: 1.0}}
equal_time: {{"regression, one epoch": "MoDist, one epoch"}}
probe: {{cfg: {folder}/classify.yaml}}
fine_tuning: {{cfg: {folder}/classify.yaml}}
shares: [0.5]
fine_tuned: [untrained]
compare: [["regression, one epoch", untrained]]
"""


@pytest.fixture(scope="module")
def study(tiny_actions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    net = NET.replace("FOLDER", str(folder))
    motion = "MOTION: {NUM_FRAMES: 4, SHORT_SIDE: 48}\n"
    pathway = "  MOTION_PATHWAY: {DEPTH: 18, WIDTH: 4, STEM_KERNEL: [1, 3, 3]}\n"
    (folder / "pretrain.yaml").write_text(
        f"TASK: pretraining\nMODEL:\n  META_ARCHITECTURE: MotionRegression\n{pathway}{net}{motion}"
    )
    head = "  HEAD: {NAME: ClassificationHead, ACTIVATION: softmax}\n  LOSS: {NAME: cross_entropy}\n"
    (folder / "classify.yaml").write_text(
        f"TASK: classification\nMODEL:\n  META_ARCHITECTURE: VideoClassifier\n{head}{net}"
    )
    (folder / "study.yaml").write_text(STUDY.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODIST_DATASETS", str(tiny_actions))
        read = read_study(folder / "study.yaml")
        run_study(read)
        yield read


def test_all_rows_are_there_and_are_not_made_again(study):
    results = collect(study)["puppets"]
    methods = ["regression, one epoch", "MoDist, one epoch"]
    assert list(results) == [PYRAMID, UNTRAINED, *methods, TIMED]
    for row, (found,) in results.items():
        assert len(found["right"]) == 12 and found["linear"] == pytest.approx(np.mean(found["right"]))
        assert 0 <= found["knn"] <= 1
        assert ("fine-tuning 50%" in found) == (row == UNTRAINED)
        assert ("motion encoder linear" in found) == (row == "MoDist, one epoch")
    before = {path: path.stat().st_mtime_ns for path in study.output.rglob("*.json")}
    run_study(study)
    assert before == {path: path.stat().st_mtime_ns for path in study.output.rglob("*.json")}


def test_a_method_gets_the_time_of_another(study):
    """Epochs in the ratio of the times that both need for one epoch of two steps."""

    def seconds(name):
        rows = read_metrics(study.output / f"pretrain/{name}/3/metrics.json")
        return np.median([row["time"] for row in rows if "time" in row]) * 2

    ratio = seconds("MoDist__one_epoch") / seconds("regression__one_epoch")
    folder = study.output / "pretrain/regression__one_epoch__time_of_MoDist__one_epoch/3"
    cfg = yaml.safe_load(json.loads((folder / "done.json").read_text())["config"])
    assert cfg["SOLVER"]["MAX_EPOCH"] == pytest.approx(ratio, abs=0.006)
    assert cfg["SOLVER"]["WARMUP_EPOCHS"] == 0.0 and cfg["MODEL"]["META_ARCHITECTURE"] == "MotionRegression"


def test_the_probe_of_the_motion_encoder(study):
    """Against its features worked out from the checkpoint, video by video."""
    pretrained = sorted((study.output / "pretrain/MoDist__one_epoch/3/checkpoints").glob("*.pth"))[-1]
    content = torch.load(pretrained, weights_only=True)
    cfg = get_cfg()
    cfg.merge_from_text(content["config"], "the config")
    model = build_model(cfg)
    model.load_state_dict(content["model"])
    encoder = model.query["motion"].backbone.eval()
    source = build_motion_reader(short_side=48)
    sides = []
    for name in ("puppets_actions_train", "puppets_actions_test"):
        rows, labels = [], []
        for record in DatasetCatalog.get(name).records():
            with open_video(record.video) as video:
                info = video.info  # two views of 4 frames 0.2 s apart, and 4 maps a view
                latest = info.num_frames - 0.8 * float(info.rate)
                starts = np.floor([0, latest / 2]) / float(info.rate)
                seconds = (starts[:, None] + np.arange(4) * 0.2).ravel()
                maps = source.maps(video, seconds, output_size(info.height, info.width, None, 32))
            left = (maps.shape[3] - 32 + 1) // 2
            clips = (
                maps[:, :, :, left : left + 32].view(2, 4, 1, 32, 32).transpose(1, 2).expand(2, 3, 4, 32, 32)
            )
            with torch.no_grad():
                rows.append(encoder(clips / 255)[0].mean(dim=(0, 2, 3, 4)).numpy())
            labels.append(record.labels[0])
        sides += [np.stack(rows), np.array(labels)]
    classifier = fit_linear_probe(sides[0], sides[1], 12)
    expected = (classifier(sides[2]).argmax(axis=1) == sides[3]).mean()
    found = collect(study)["puppets"]["MoDist, one epoch"][0]
    assert found["motion encoder linear"] == pytest.approx(expected)


def test_a_study_probes_as_a_pretraining_run_evaluates_itself(study):
    """The metrics of TASK pretraining with the same views are those of the study."""
    name = "MoDist, one epoch"
    recipe = study.networks[name]
    weights = study.output / "pretrain/MoDist__one_epoch/3"
    sets = {"DATASETS__TEST": ["puppets_actions_test"], "DATASETS__GALLERY": ["puppets_actions_train"]}
    cfg = recipe.config(OUTPUT_DIR=str(study.output / "again"), MODEL__WEIGHTS=str(weights), **sets)
    task = build_task(cfg)
    task.complete_config(cfg)
    metrics = evaluate_only(cfg, task, torch.device("cpu"))["puppets_actions_test"]
    found = collect(study)["puppets"][name][0]
    for metric in ("linear", "knn", "R@1", "R@5"):
        assert metrics[metric] == pytest.approx(found[metric])


def test_the_untrained_network_learns_nothing_but_statistics(study):
    rates = {
        name: [
            row["lr"] for row in read_metrics(study.output / f"pretrain/{name}/3/metrics.json") if "lr" in row
        ]
        for name in ("untrained", "regression__one_epoch")
    }
    assert set(rates["untrained"]) == {0.0} and max(rates["regression__one_epoch"]) > 0


def test_a_run_with_another_config_is_refused(study):
    mark = study.output / "pretrain/untrained/3/done.json"
    content = mark.read_text()
    try:
        mark.write_text(json.dumps({"config": "something else"}))
        with pytest.raises(UserError, match="made with another config; delete it"):
            run_study(study)
    finally:
        mark.write_text(content)


def test_tables_and_plot(tmp_path):
    def seed(right, **more):
        return {"linear": sum(right) / 4, "knn": 0.25, "R@1": 0.5, "R@5": 1.0, "right": right, **more}

    results = {
        "mine": {
            PYRAMID: [seed([1, 1, 1, 0])],
            "new": [seed([1, 1, 0, 0], **{"fine-tuning 10%": 0.75}), seed([1, 1, 1, 1])],
        }
    }
    text = study_tables(results, [("new", PYRAMID), ("new", "absent")])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert cells[0] == ["", "linear", "knn", "R@1", "R@5", "fine-tuning 10%", "seeds"]
    assert cells[2] == [PYRAMID, "0.750", "0.250", "0.500", "1.000", "-", "1"]
    spread = ["0.750 (0.500 to 1.000)", "0.250 (0.250 to 0.250)", "0.500 (0.500 to 0.500)"]
    assert cells[3] == ["new", *spread, "1.000 (1.000 to 1.000)", "0.750", "2"]
    # By clip 0, 0, -0.5, 0.5; 0.375 is exceeded by too few of the samples.
    assert cells[6][:3] == ["mine", "new", PYRAMID] and cells[6][3].startswith("+0.000 (-0.375 to +0.375")
    assert len(cells) == 7
    draw_study(results, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


def test_the_pyramid_is_the_motion_of_the_test_views(tiny_actions, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(tiny_actions))
    records = DatasetCatalog.get("puppets_actions_test").records()[:2]
    mapper = ClassificationMapper(
        12, num_frames=8, sampling_rate=3, min_size_test=48, num_views=1, num_crops=1
    )
    source = build_motion_reader("difference")
    found = pyramid_features(records, mapper, source)
    assert found.shape == (2, 256)
    with open_video(records[1].video) as video:  # 64 x 48 pixels, the middle 48 columns
        numbers = mapper.frame_numbers(records[1], video.info, np.random.default_rng(0))
        maps = source.maps(video, numbers / float(video.info.rate))[:, 0, :, 8:56].numpy() / 255
    cells = maps.reshape(4, 2, 8, 6, 8, 6).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(found[1], np.sqrt(cells).ravel(), atol=1e-5)


def test_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    first, second = (rng.random((3, 400)) < rate for rate in (0.7, 0.5))
    difference, low, high = paired_bootstrap(first, second)
    by_clip = first.mean(axis=0) - second.mean(axis=0)
    assert difference == pytest.approx(by_clip.mean())
    spread = 1.96 * by_clip.std() / 20
    assert (low, high) == pytest.approx((difference - spread, difference + spread), abs=0.005)
    assert paired_bootstrap(first, first) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("outptu: x", "unknown key 'outptu'.*output"),
        ("datasets: {a: {train: x}}", "dataset a needs train and test"),
        ("methods: {a: {config: x}}", "a needs cfg"),
        ("equal_time: {m: MoDist}", "equal_time needs rows of m, not 'm': 'MoDist'"),
        ("equal_time: [m]", "equal_time: a mapping"),
        ("fine_tuned: [MoDist]", "fine_tuned needs rows of untrained, m, not 'MoDist'"),
        ("options: [a]", "options: a mapping"),
        ("compare: [[MoDist, untrained]]", "compare needs pairs of untrained"),
        ("compare: [[m, untrained, m]]", "compare needs pairs of untrained"),
        ("compare: [m, untrained]", "compare needs pairs of untrained"),
        ("methods: {untrained: {cfg: x}}", "untrained is a row of every study"),
        ("budgets: [a]", "budgets: a mapping"),
        ("budgets: {short: 3}", "budget short: a mapping"),
        ("seeds: 3", "seeds is a list, not 3"),
        ("shares: 0.1", "shares is a list, not 0.1"),
        ("pretrain_on: a", "pretrain_on is a list, not 'a'"),
        ("probe:", "probe is missing"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, change, message):
    key = change.partition(":")[0]
    lines = ["output: out", "datasets: {d: {train: a, test: b}}", "methods: {m: {cfg: x}}", "probe: {cfg: y}"]
    kept = [line for line in lines if not line.startswith(key + ":")]
    (tmp_path / "s.yaml").write_text("\n".join([*kept, change]))
    with pytest.raises(UserError, match=message):
        read_study(tmp_path / "s.yaml")


def test_what_a_file_does_not_say_has_defaults(tmp_path):
    lines = ["output: out", "datasets: {d: {train: a, test: b}}", "methods: {m: {cfg: x}}", "probe: {cfg: y}"]
    (tmp_path / "s.yaml").write_text("\n".join(lines))
    found = read_study(tmp_path / "s.yaml")
    assert (found.seeds, found.shares, found.pretrain_on) == ((0, 1, 2), (0.1, 1.0), ("a",))
    assert list(found.networks) == [UNTRAINED, "m"] and found.fine_tuning is None and found.compare == ()


@pytest.mark.parametrize(("name", "methods"), [("puppets.yaml", 14), ("puppets_masked.yaml", 4)])
def test_the_studies_of_the_documentation_can_be_read(root, monkeypatch, name, methods):
    monkeypatch.chdir(root)
    study = read_study(root / "docs/study" / name)
    assert len(study.methods) == methods
    for pair in study.compare:
        assert set(pair) <= set(study.rows)
    recipes = [*study.networks.values(), study.probe, *filter(None, [study.fine_tuning])]
    for recipe in recipes:
        recipe.config()  # files and keys exist
