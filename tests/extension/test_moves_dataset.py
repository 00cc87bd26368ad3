"""A detection dataset outside the package, with its own reader and its own metric, through the command lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets.ava import AVADataset
from modist_det.engine.metrics import read_metrics
from tests.warm import run_program

HERE = Path(__file__).parent

CONFIG = """\
IMPORTS: [moves_dataset]
MODEL: {{RESNET3D: {{DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}}}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [36, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [{folder}/train.yaml], TEST: [moves]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 0.2}}
OUTPUT_DIR: {folder}/out
"""


def moves_file(path: Path, dataset: AVADataset) -> list[dict]:
    """The first action of each person of an AVA-style dataset, as the module's JSON."""
    videos: dict[str, list] = {}
    for record in dataset.records():
        names = [dataset.metadata.class_names[actions[0]] for actions in record.actions]
        people = [{"box": box, "move": name} for box, name in zip(record.boxes.tolist(), names, strict=True)]
        videos.setdefault(record.video, []).append({"time": record.time, "people": people})
    content = [{"video": video, "keyframes": frames} for video, frames in videos.items()]
    path.write_text(json.dumps(content))
    return content


@pytest.fixture(scope="module")
def folder(tiny_puppets, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("moves")
    moves_file(folder / "moves.json", DatasetCatalog.get(tiny_puppets / "train.yaml"))
    (folder / "train.yaml").write_text("format: moves\nfile: moves.json\n")
    (folder / "moves.yaml").write_text(CONFIG.format(folder=folder))
    return folder


def test_training_and_its_own_metric(folder, root) -> None:
    command = [root / "tools" / "run_net.py", "--num-gpus", "0", "--cfg", folder / "moves.yaml"]
    done = run_program(command, cwd=HERE, env={**os.environ, "MODIST_DATASETS": str(folder)})
    assert done.returncode == 0, done.stderr
    (result,) = [row for row in read_metrics(folder / "out" / "metrics.json") if "moves/accuracy" in row]

    # The metric once more, from the file of moves and what the evaluator wrote.
    content = json.loads((folder / "moves.json").read_text())
    names = sorted({p["move"] for v in content for frame in v["keyframes"] for p in frame["people"]})
    said = json.loads((folder / "out" / "inference" / "moves_moves.json").read_text())
    right = total = 0
    for video in content:
        for frame in video["keyframes"]:
            key = f"{Path(video['video']).stem},{frame['time']:04.0f}"
            for (best, _), person in zip(said[key], frame["people"], strict=True):
                right += names[best - 1] == person["move"]
                total += 1
    assert result["moves/accuracy"] == pytest.approx(right / total) and total > 20


def test_what_it_has_not_is_said_in_one_line(folder, root) -> None:
    command = [
        root / "tools" / "run_net.py",
        "--num-gpus",
        "0",
        "--cfg",
        folder / "moves.yaml",
        "--eval-only",
    ]
    done = run_program(
        [*command, "DATASETS.TEST_BOXES", "detected"],
        cwd=HERE,
        env={**os.environ, "MODIST_DATASETS": str(folder)},
    )
    assert (done.returncode, done.stderr) == (1, "error: dataset moves has no detected boxes\n")


def test_keyframes_and_videos_follow_from_the_records(folder, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    from moves_dataset import MovesDataset

    dataset = MovesDataset("moves", folder / "moves.json")
    content = json.loads((folder / "moves.json").read_text())
    assert [(video.path, list(video.seconds)) for video in dataset.keyframes()] == [
        (video["video"], sorted(frame["time"] for frame in video["keyframes"])) for video in content
    ]
    assert [record.video for record in dataset.video_records()] == [video["video"] for video in content]
    name = Path(content[1]["video"]).stem
    assert dataset.find_videos([name, "nobody"]) == {name: content[1]["video"]}
