"""Detection dataset and task of docs/EXTENDING.md."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest

from modist_det.engine.metrics import read_metrics
from modist_det.evaluation.ava import evaluate_ava
from modist_det.formats.ava.files import read_ava_boxes, read_detections
from modist_det.structures.keyframes import keyframe_id

NET = "../../tools/run_net.py"


@pytest.fixture(scope="module")
def tracks_run(follow, folder):
    """The run folder of the section on detection datasets."""
    follow("A detection dataset")
    return folder / "output" / "tracks_dataset"


def test_metric_of_the_dataset(tracks_run, tiny_puppets):
    """Worked out again from AVA's csv file of the same videos, which the run has not read."""
    scores = json.loads((tracks_run / "inference" / "tracks_val_scores.json").read_text())
    truth = read_ava_boxes(tiny_puppets / "val.csv")
    persons: dict[str, dict[int, set[int]]] = {}
    for row, (name, second) in enumerate(truth.names()):
        people = persons.setdefault(keyframe_id(name, second), {})
        people.setdefault(int(truth.person[row]), set()).add(int(truth.action[row]))
    assert {name: len(rows) for name, rows in scores.items()} == {n: len(p) for n, p in persons.items()}
    right = [
        int(np.argmax(row)) + 1 in actions
        for name, people in persons.items()
        for row, actions in zip(scores[name], people.values(), strict=True)
    ]
    logged = [row for row in read_metrics(tracks_run / "metrics.json") if "tracks_val/best_action" in row]
    assert logged[-1]["tracks_val/best_action"] == pytest.approx(np.mean(right)) and len(right) > 5


def test_scores_are_those_of_the_same_data_in_ava_s_format(tracks_run, program, tmp_path):
    checkpoint = max((tracks_run / "checkpoints").glob("*.pth"))
    done = program(
        *(NET, "--cfg", "tracks_dataset.yaml", "--eval-only", "OUTPUT_DIR", tmp_path),
        *("MODEL.WEIGHTS", checkpoint, "DATASETS.TEST", "['puppets_val']"),
    )
    assert done.returncode == 0, done.stderr
    found = read_detections(tmp_path / "inference" / "puppets_val_detections.csv")
    scores = json.loads((tracks_run / "inference" / "tracks_val_scores.json").read_text())
    by_keyframe: dict[str, list[float]] = {}
    for (name, second), score in zip(found.names(), found.score.tolist(), strict=True):
        by_keyframe.setdefault(keyframe_id(name, second), []).append(score)
    assert by_keyframe.keys() == scores.keys()
    for name, rows in scores.items():
        in_csv = np.reshape(by_keyframe[name], np.shape(rows)).tolist()  # whose order of people is another
        np.testing.assert_allclose(sorted(in_csv), sorted(rows), atol=1e-4)


def test_report_of_the_dataset(tracks_run, folder, tiny_puppets):
    """The report's ground truth is the dataset's own, its metrics are those of its evaluator."""
    page = (folder / "output" / "tracks_dataset" / "report.html").read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)[1])
    logged = [row for row in read_metrics(tracks_run / "metrics.json") if "tracks_val/best_action" in row][-1]
    name, value = next(iter(content["summary"]["metrics"].items()))
    assert (name, value) == ("best_action", pytest.approx(logged["tracks_val/best_action"]))
    # AVA's metric of the same detections, from AVA's files of the same videos, which the run has not read
    detections = tracks_run / "inference" / "tracks_val_detections.csv"
    expected = evaluate_ava(
        tiny_puppets / "val.csv", detections, tiny_puppets / "label_map.pbtxt", max_detections=0
    )
    assert content["summary"]["mAP"] == pytest.approx(expected["mAP"], abs=1e-6) and expected["mAP"] > 0
    assert content["summary"]["num_groundtruth"] == expected["num_groundtruth"]
    assert content["keyframes"] and all(k["image"] for k in content["keyframes"])


def test_what_the_dataset_has_not_is_said_in_one_line(program, tmp_path):
    words = [NET, "--cfg", "tracks_dataset.yaml", "OUTPUT_DIR", tmp_path, "DATASETS.TRAIN_BOXES", "both"]
    done = program(*words)
    assert (done.returncode, done.stderr) == (
        1,
        "error: dataset tracks_train has no both boxes, only ground_truth\n",
    )


def test_keyframes_videos_and_files_follow_from_the_records(apart, tiny_puppets, tmp_path):
    apart(check_tracks, tiny_puppets, tmp_path)


def check_tracks(puppets, tmp_path):
    import tracks_dataset  # noqa: F401  (registers itself)

    from modist_det.data.catalog import DatasetCatalog

    os.environ["MODIST_DATASETS"] = str(puppets)
    description = tmp_path / "mine.yaml"
    description.write_text(
        f"format: tracks\nvideos: {puppets}/videos\ntracks: {puppets}/tracks_val.json\nevery: 0.5\n"
    )
    dataset = DatasetCatalog.get(description)
    videos = dataset.keyframes()
    assert [video.name for video in videos] == ["val_0000", "val_0001", "val_0002"]
    assert {second for video in videos for second in video.seconds} <= {0.5, 1.0, 1.5, 2.0, 2.5}
    assert any(second % 1 for video in videos for second in video.seconds)
    assert [record.video for record in dataset.video_records()] == [video.path for video in videos]
    paths = {"val_0001": f"{puppets}/videos/val_0001.mp4"}
    assert dataset.find_videos(["val_0001", "nobody"]) == paths


def test_task(follow, folder):
    printed = follow("A task")
    run = folder / "output" / "temporal_localization"
    metrics = read_metrics(run / "metrics.json")[-1]
    found = json.loads((run / "inference" / "segments.json").read_text())
    truth = {
        r["name"]: r["segments"]
        for r in json.loads((folder / "features" / "val.json").read_text())["recordings"]
    }
    assert found.keys() == truth.keys()

    # On a grid of hundredths of a second: segments of one class that have half of their union in common.
    def cells(segment):
        return set(range(round(segment[0] * 100), round(segment[1] * 100)))

    pairs = np.array(
        [
            any(
                s[2] == t[2] and len(cells(s) & cells(t)) >= len(cells(s) | cells(t)) / 2 for t in truth[name]
            )
            for name, segments in found.items()
            for s in segments
        ]
    )
    # True segments do not overlap, so no two of them can be had by one.
    recall = pairs.sum() / sum(map(len, truth.values()))
    assert metrics["val/precision"] == pytest.approx(pairs.mean())
    assert metrics["val/recall"] == pytest.approx(recall)
    assert metrics["val/F1"] == pytest.approx(2 * pairs.mean() * recall / (pairs.mean() + recall))
    assert metrics["val/F1"] > 0.8
    assert f"{metrics['val/F1']:.4f}" in printed[-1]  # --eval-only says the same


def test_an_empty_set_is_said_in_one_line(program, folder, tmp_path):
    empty = {"rate": 2, "classes": ["jump"], "recordings": []}
    (tmp_path / "none.json").write_text(json.dumps(empty))
    words = [NET, "--cfg", "temporal_localization.yaml", "OUTPUT_DIR", tmp_path]
    done = program(*words, "DATASETS.TEST", f"['{tmp_path}/none.json']")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.endswith(f" {tmp_path}/none.json has nothing to evaluate: no recording\n")
