"""AVAEvaluator: what it collects, gathers, writes and returns."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from modist_det.evaluation import AVAEvaluator, evaluate_ava
from modist_det.evaluation.chance import with_random_scores
from modist_det.evaluation.operating_points import read_thresholds
from modist_det.formats.ava.files import read_ava_boxes, read_detections
from modist_det.utils.errors import UserError

LABELS = """\
item { name: "walk" id: 1 }
label { name: "run" label_id: 3 label_type: PERSON_MOVEMENT }
label { name: "wave" label_id: 4 label_type: OBJECT_MANIPULATION }
"""
NUM_CHANNELS = 5  # one of them, 2, and the last, are of no class of the label map


@pytest.fixture
def data(tmp_path):
    """Paths of ground truth and label map, and keyframes (video, second, boxes, scores) of a fair model."""
    rng = np.random.default_rng(0)
    (tmp_path / "labels.pbtxt").write_text(LABELS)
    rows, keyframes = [], []
    for video in ("b", "a"):
        for second in range(902, 908):
            corners = rng.integers(0, 400, size=(rng.integers(0, 4), 2)) / 1000
            boxes = np.concatenate(
                [corners, corners + rng.integers(200, 600, size=corners.shape) / 1000], axis=1
            )
            scores = rng.random((len(boxes), NUM_CHANNELS)).astype(np.float32)
            rows += [f"{video},{second:04d}"] if not len(boxes) else []
            for box, of_class in zip(boxes, scores, strict=True):
                action = rng.integers(1, 5)
                of_class[action - 1] += rng.random() * 0.5
                rows.append(",".join([video, f"{second:04d}", *(f"{v:.3f}" for v in box), str(action), "0"]))
            keyframes.append((video, second, boxes.astype(np.float32), scores))
    (tmp_path / "gt.csv").write_text("\n".join(rows))
    return tmp_path / "gt.csv", tmp_path / "labels.pbtxt", keyframes


def batches(keyframes, size=4):
    for i in range(0, len(keyframes), size):
        videos, seconds, boxes, scores = zip(*keyframes[i : i + size], strict=True)
        batch = {
            "video_id": list(videos),
            "second": [float(s) for s in seconds],
            "original_boxes": [torch.from_numpy(b) for b in boxes],
        }
        yield batch, [{"scores": torch.from_numpy(s)} for s in scores]


def run(evaluator, keyframes):
    for batch, predictions in batches(keyframes):
        evaluator.process(batch, predictions)
    return evaluator.evaluate()


def test_figures_files_and_command_line_agree(data, tmp_path):
    groundtruth, labels, keyframes = data
    evaluator = AVAEvaluator(groundtruth, labels, output_dir=tmp_path / "inference", dataset_name="my/set")
    metrics = run(evaluator, keyframes)
    written = tmp_path / "inference" / "my_set_detections.csv"
    # A person's class 3 score is in channel 2; classes 2 and 5 are not in the label map.
    table = read_detections(written)
    assert sorted(set(table.action.tolist())) == [1, 3, 4]
    people = sum(len(boxes) for _, _, boxes, _ in keyframes)
    assert len(table) == 3 * people
    assert len(table.keyframes) == sum(not len(boxes) for _, _, boxes, _ in keyframes) > 0
    video, second, boxes, scores = next(k for k in keyframes if len(k[2]) and k[0] == "a")
    row = np.flatnonzero((table.second == second) & (table.video == table.videos.index(video)))[1]
    np.testing.assert_allclose(table.boxes[row], boxes[0], atol=1e-6)
    assert np.float32(table.score[row]) == scores[0, 2]
    # The annotated decimals come back from float32.
    annotated = read_ava_boxes(groundtruth).boxes
    np.testing.assert_array_equal(np.unique(table.boxes, axis=0), np.unique(annotated, axis=0))
    result = evaluate_ava(groundtruth, written, labels)
    assert metrics["mAP"] == result["mAP"]
    assert 0.3 < metrics["mAP"] < 1
    assert {k: v for k, v in metrics.items() if k.startswith("AP/")} == {
        f"AP/{c['name']}": c["AP"] for c in result["classes"] if c["AP"] is not None
    }
    assert metrics["mAP/pose"] == metrics["AP/run"]
    assert json.loads((tmp_path / "inference" / "my_set_ava_result.json").read_text()) == result
    assert set(read_thresholds(tmp_path / "inference" / "my_set_thresholds.json")) <= {"walk", "run", "wave"}


def test_boxes_are_evaluated_as_they_are_written(tmp_path):
    """IoU one half in the annotation's decimals, less than that in float32."""
    box, person = (0, 0, 0.05, 0.9), (0, 0, 0.1, 0.9)
    (tmp_path / "gt.csv").write_text("a,1," + ",".join(map(str, person)) + ",1\n")
    (tmp_path / "labels.pbtxt").write_text('item { name: "walk" id: 1 }')
    keyframe = ("a", 1, np.array([box], dtype=np.float32), np.ones((1, 1), dtype=np.float32))
    metrics = run(
        AVAEvaluator(tmp_path / "gt.csv", tmp_path / "labels.pbtxt", output_dir=tmp_path), [keyframe]
    )
    assert metrics["mAP"] == 1.0
    assert (
        evaluate_ava(tmp_path / "gt.csv", tmp_path / "ava_detections.csv", tmp_path / "labels.pbtxt")["mAP"]
        == 1.0
    )


def test_order_of_batches_and_repeated_keyframes_do_not_matter(data):
    groundtruth, labels, keyframes = data
    evaluator = AVAEvaluator(groundtruth, labels)
    expected = run(evaluator, keyframes)
    evaluator.reset()
    assert run(evaluator, [*reversed(keyframes), *keyframes[:3]]) == expected
    evaluator.reset()
    assert run(evaluator, keyframes[:6]) != expected


def test_exclusions_and_mode(data, tmp_path):
    groundtruth, labels, keyframes = data
    (tmp_path / "excluded.csv").write_text("b,902\nb,903\n")
    metrics = run(AVAEvaluator(groundtruth, labels, tmp_path / "excluded.csv"), keyframes)
    kept = [k for k in keyframes if k[:2] not in (("b", 902), ("b", 903))]
    assert metrics != run(AVAEvaluator(groundtruth, labels), keyframes)
    of_kept = run(AVAEvaluator(groundtruth, labels, tmp_path / "excluded.csv"), kept)
    assert {**metrics, "about": ""} == {**of_kept, "about": ""}  # random scores of other boxes are others
    ghost = [
        ("z", 1, np.array([[0, 0, 1, 1]], dtype=np.float32), np.ones((1, NUM_CHANNELS), dtype=np.float32))
    ]
    official = run(AVAEvaluator(groundtruth, labels), keyframes + ghost)["mAP"]
    assert run(AVAEvaluator(groundtruth, labels, mode="pyslowfast"), keyframes + ghost)["mAP"] < official


def test_nothing_predicted_is_a_figure_of_zero(data):
    groundtruth, labels, _ = data
    assert AVAEvaluator(groundtruth, labels).evaluate()["mAP"] == 0.0


def test_half_precision_scores_and_array_boxes(data):
    groundtruth, labels, _ = data
    evaluator = AVAEvaluator(groundtruth, labels)
    batch = {"video_id": ["a"], "second": [902], "original_boxes": [np.array([[0.0, 0.0, 1.0, 1.0]])]}
    evaluator.process(
        batch, [{"scores": torch.ones(1, NUM_CHANNELS, dtype=torch.bfloat16, requires_grad=True)}]
    )
    assert 0.0 <= evaluator.evaluate()["mAP"] <= 1.0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (
            torch.ones(1, 3),
            r"scores 3 classes, but the label map of ava has ids up to 4; set MODEL.NUM_CLASSES",
        ),
        (torch.ones(2, 5), r"a,902: scores have shape \(2, 5\) for 1 boxes"),
        (torch.ones(5), r"a,902: scores have shape \(5,\)"),
        (torch.full((1, 5), torch.nan), r"a,902: the model gave scores that are not finite"),
    ],
)
def test_predictions_that_do_not_fit(data, scores, message):
    evaluator = AVAEvaluator(*data[:2])
    batch = {"video_id": ["a"], "second": [902.0], "original_boxes": [torch.zeros(1, 4)]}
    with pytest.raises(UserError, match=message):
        evaluator.process(batch, [{"scores": scores}])


def test_files_are_checked_when_it_is_made(data, tmp_path):
    groundtruth, labels, _ = data
    with pytest.raises(UserError, match="dataset mine has no ground truth"):
        AVAEvaluator(None, labels, dataset_name="mine")
    with pytest.raises(UserError, match="none.csv does not exist"):
        AVAEvaluator(groundtruth, labels, tmp_path / "none.csv")


def _worker(rank, world_size, port, groundtruth, labels, keyframes, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    # Shards of 4, 9 and none; the second repeats a keyframe of the first, as padding samplers do.
    shard = [keyframes[8:], keyframes[:9], []][rank]
    metrics = run(AVAEvaluator(groundtruth, labels, output_dir=folder / f"rank{rank}"), shard)
    (folder / f"metrics{rank}.json").write_text(json.dumps(metrics))
    dist.destroy_process_group()


def test_uneven_shards_of_three_processes(data, tmp_path):
    groundtruth, labels, keyframes = data
    expected = run(AVAEvaluator(groundtruth, labels, output_dir=tmp_path / "alone"), keyframes)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_worker, (3, port, groundtruth, labels, keyframes, tmp_path), nprocs=3)
    assert [json.loads((tmp_path / f"metrics{rank}.json").read_text()) for rank in range(3)] == [
        expected,
        {},
        {},
    ]
    name = "ava_detections.csv"
    assert (tmp_path / "rank0" / name).read_text() == (tmp_path / "alone" / name).read_text()
    assert not (tmp_path / "rank1").exists()


def test_what_a_result_is_worth(data, tmp_path):
    """The boxes' origin is named, and chance is that of the written detections with random scores."""
    groundtruth, labels, keyframes = data
    about = run(
        AVAEvaluator(groundtruth, labels, output_dir=tmp_path, dataset_name="d", boxes="ground_truth"),
        keyframes,
    )["about"]
    written = read_detections(tmp_path / "d_detections.csv")
    chance = [evaluate_ava(groundtruth, table, labels)["mAP"] for table in with_random_scores(written, 3)]
    assert about.startswith("scored on ground-truth boxes, so people that a detector would miss")
    assert "2 of 3 classes have ground truth, 18 rows" in about
    assert about.endswith(f"random scores: mAP {np.mean(chance):.4f}")
    assert run(AVAEvaluator(groundtruth, labels, boxes="detected"), keyframes)["about"].startswith(
        "scored on a detector's boxes"
    )
