"""Figures of a classifier, worked out by hand, and merged over processes."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from modist_det.evaluation import ClassificationEvaluator
from modist_det.evaluation.classification import ranks_of_labels
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
    figures = run(ClassificationEvaluator(NAMES), VIDEOS)
    assert figures["top1"] == pytest.approx(2 / 5)
    assert figures["top3"] == 1.0  # fewer than 5 classes
    assert figures["mean_class_accuracy"] == pytest.approx((1 + 0 + 0) / 3)


def test_top5_against_sorting_each_row():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((200, 9)), rng.integers(9, size=200)
    videos = [(i, int(labels[i]), scores[i].tolist()) for i in range(200)]
    figures = run(ClassificationEvaluator([str(i) for i in range(9)]), videos, size=7)
    by_row = [
        label in sorted(range(9), key=lambda c: -row[c])[:5]
        for row, label in zip(scores, labels, strict=True)
    ]
    assert figures["top5"] == pytest.approx(np.mean(by_row))


def test_a_class_without_videos_has_no_part_in_the_mean():
    figures = run(ClassificationEvaluator(NAMES), VIDEOS[:3])
    assert figures["mean_class_accuracy"] == pytest.approx((1 + 0) / 2)


def test_the_best_of_several_labels_counts():
    labels = np.array([[True, False, True]])
    assert ranks_of_labels(np.array([[0.1, 0.5, 0.4]]), labels).tolist() == [1]


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
