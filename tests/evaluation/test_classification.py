"""Figures of a classifier, worked out by hand, and merged over processes."""

from __future__ import annotations

import csv
import json
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from modist_det.evaluation import ClassificationEvaluator
from modist_det.evaluation.accuracy import (
    average_precisions,
    confusion_matrix,
    interval_of_share,
    ranks_of_labels,
    worst_confusions,
)
from modist_det.evaluation.report import results_table
from modist_det.utils.errors import UserError

NAMES = ["jump", "run", "walk"]
# number, label, scores: right, right, second, last, second (a tie with a class before it)
VIDEOS = [
    (0, 0, [0.5, 0.3, 0.2]),
    (1, 0, [0.6, 0.2, 0.2]),
    (2, 1, [0.5, 0.4, 0.1]),
    (3, 2, [0.5, 0.4, 0.1]),
    (4, 2, [0.1, 0.45, 0.45]),
]


def run(evaluator, videos, size=2):
    for i in range(0, len(videos), size):
        numbers, labels, scores = zip(*videos[i : i + size], strict=True)
        batch = {
            "video_number": torch.tensor(numbers),
            "id": [f"v{n}" for n in numbers],
            "labels": list(torch.eye(len(scores[0]))[list(labels)]),
        }
        evaluator.process(batch, [{"scores": torch.tensor(row)} for row in scores])
    return evaluator.evaluate()


def test_figures_by_hand():
    metrics = run(ClassificationEvaluator(NAMES), VIDEOS)
    assert metrics["top1"] == pytest.approx(2 / 5)
    assert not {"top3", "top5"} & metrics.keys()  # they would say nothing
    assert metrics["mean_class_accuracy"] == pytest.approx((1 + 0 + 0) / 3)


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    # Of statsmodels' proportion_confint(hits, rows, method="wilson").
    [(42, 54, 0.6506, 0.8680), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_interval_of_share(hits, rows, low, high):
    assert interval_of_share(hits, rows) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("right", "verdict"), [(54, "better than"), (34, "not distinguishable from"), (5, "worse than")]
)
def test_what_a_result_is_worth(right, verdict):
    """Of 54 videos 31 are of the first class."""
    labels = [0] * 31 + [1] * 23
    predicted = [label if i < right else 1 - label for i, label in enumerate(labels)]
    videos = [
        (i, label, np.eye(2)[p].tolist()) for i, (label, p) in enumerate(zip(labels, predicted, strict=True))
    ]
    about = run(ClassificationEvaluator(["fight", "other"]), videos)["about"]
    assert "54 videos, 2 of 2 classes occur" in about and "chance is 0.500" in about
    assert f"{verdict} always answering 'fight' (0.574)" in about
    table = results_table({"val": {"top1": 0.5, "about": about}})
    assert table.splitlines()[-1] == f"val: {about}" and "about" not in table.splitlines()[2]


def test_top5_against_sorting_each_row():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 9)), rng.integers(9, size=200)
    videos = [(i, int(labels[i]), scores[i].tolist()) for i in range(200)]
    metrics = run(ClassificationEvaluator([str(i) for i in range(9)]), videos, size=7)
    by_row = [
        label in sorted(range(9), key=lambda c: -row[c])[:5]
        for row, label in zip(scores, labels, strict=True)
    ]
    assert metrics["top5"] == pytest.approx(np.mean(by_row))


def test_a_class_without_videos_has_no_part_in_the_mean():
    metrics = run(ClassificationEvaluator(NAMES), VIDEOS[:3])
    assert metrics["mean_class_accuracy"] == pytest.approx((1 + 0) / 2)


def test_the_best_of_several_labels_counts():
    labels = np.array([[True, False, True]])
    assert ranks_of_labels(np.array([[0.1, 0.5, 0.4]]), labels).tolist() == [1]


def test_average_precision_by_hand():
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.5, 0.2], [0.7, 0.5, 0.3], [0.6, 0.5, 0.4]])
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    ap = average_precisions(scores, labels)
    # Class 0 is found first and third: (1 + 2/3) / 2. Class 1 has one score for all, so its row counts as last.
    assert ap[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 4])
    assert np.isnan(ap[2])


def test_several_labels_a_video(tmp_path):
    evaluator = ClassificationEvaluator(NAMES, tmp_path, "many")
    scores = torch.tensor([[0.9, 0.1, 0.8], [0.7, 0.3, 0.4]])
    batch = {"video_number": [0, 1], "id": ["a", "b"], "labels": torch.tensor([[1.0, 0, 1], [0, 1, 0]])}
    evaluator.process(batch, [{"scores": row} for row in scores])
    # Every class ranks its one video first.
    assert evaluator.evaluate() == {"mAP": 1.0, "top1": 0.5}
    rows = list(csv.reader((tmp_path / "many_predictions.csv").open()))
    assert rows[1][:4] == ["a", "jump;walk", "1", "jump"]
    assert not (tmp_path / "many_confusion.csv").exists()


def test_confusions_by_hand():
    truth, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 0, 0, 0, 1, 0])
    matrix = confusion_matrix(truth, predicted, 3)
    assert matrix.tolist() == [[2, 0, 0], [1, 0, 0], [2, 1, 0]]
    assert worst_confusions(matrix, NAMES, limit=2) == [
        ("walk", "jump", 2, pytest.approx(2 / 3)),
        ("run", "jump", 1, 1.0),
    ]


def test_files_and_log(tmp_path, caplog):
    with caplog.at_level("INFO"):
        told = []
        run(
            ClassificationEvaluator(
                NAMES, tmp_path, "my/set", lambda counts, path: told.append((counts, path))
            ),
            VIDEOS,
        )
    rows = list(csv.reader((tmp_path / "my_set_predictions.csv").open()))
    assert rows[0][:5] == ["video", "label", "rank", "class1", "score1"]
    assert rows[3] == ["v2", "run", "2", "jump", "0.500000", "run", "0.400000", "walk", "0.100000"]
    assert [row[2] for row in rows[1:]] == ["1", "1", "2", "3", "2"]
    matrix = list(csv.reader((tmp_path / "my_set_confusion.csv").open()))
    assert matrix == [["label \\ predicted", *NAMES], ["jump", "2", "0", "0"], ["run", "1", "0", "0"]] + [
        ["walk", "1", "1", "0"]
    ]
    ((counts, path),) = told
    assert path == tmp_path / "my_set_confusion.csv" and counts.tolist() == [[2, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "my_set_confusion.csv",
        "my_set_predictions.csv",
    ]
    assert "my/set: most often confused" in caplog.text
    assert "run      jump" in caplog.text


def test_order_and_repeated_videos_do_not_matter():
    evaluator = ClassificationEvaluator(NAMES)
    expected = run(evaluator, VIDEOS)
    evaluator.reset()
    assert run(evaluator, [*reversed(VIDEOS), *VIDEOS[:2]]) == expected
    evaluator.reset()
    assert evaluator.evaluate() == {}


@pytest.mark.parametrize(
    ("scores", "message"),
    [([0.5, 0.5], r"v0: scores have shape \(2,\), but mine has 3"), ([0.1, float("nan"), 0.2], "not finite")],
)
def test_scores_that_do_not_fit(scores, message):
    with pytest.raises(UserError, match=message):
        run(ClassificationEvaluator(NAMES, dataset_name="mine"), [(0, 1, scores)])


def _worker(rank, world_size, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    # Shards of 3, 3 and none; the second repeats a video of the first.
    shard = [VIDEOS[2:], VIDEOS[:3], []][rank]
    (folder / f"{rank}.json").write_text(json.dumps(run(ClassificationEvaluator(NAMES), shard)))
    dist.destroy_process_group()


def test_uneven_shards_of_three_processes(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_worker, (3, port, tmp_path), nprocs=3)
    expected = run(ClassificationEvaluator(NAMES), VIDEOS)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)] == [expected, {}, {}]
