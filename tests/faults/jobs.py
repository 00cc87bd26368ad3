"""What is killed: tiny runs of the commands that work for long, each on data made for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.puppets import PuppetsParams, generate

__all__ = ["ROOT", "Job", "make_jobs"]

ROOT = Path(__file__).resolve().parents[2]

_NETWORK = "{DEPTH: 18, WIDTH: 4, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}"
_CONFIGS = {
    "detection": """\
MODEL: {{DEVICE: cpu, RESNET3D: {network}, HEAD: {{DROPOUT: 0.3}}, EMA: {{ENABLED: True, DECAY: 0.9}}}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [36, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [{scenes}/train.yaml], TEST: [{scenes}/val.yaml]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 4.0, CHECKPOINT_PERIOD: 0.5, CHECKPOINTS_KEPT: 2}}
TEST: {{EVAL_PERIOD: 2.0, PRECISE_BN: {{ENABLED: True, NUM_ITER: 2}}}}
""",
    "classification": """\
TASK: classification
MODEL:
  META_ARCHITECTURE: VideoClassifier
  DEVICE: cpu
  RESNET3D: {network}
  HEAD: {{NAME: ClassificationHead, DROPOUT: 0.5, ACTIVATION: softmax}}
  LOSS: {{NAME: cross_entropy}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 3, MIN_SIZE_TRAIN: [32, 32], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [puppets_actions_train], TEST: [puppets_actions_test]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 8, OPTIMIZER: adamw, BASE_LR: 0.003, MAX_EPOCH: 4.0, CHECKPOINT_PERIOD: 0.3}}
TEST: {{NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1, EVAL_PERIOD: 2.0}}
""",
    "pretraining": """\
TASK: pretraining
MODEL:
  META_ARCHITECTURE: MoDist
  DEVICE: cpu
  RESNET3D: {network}
  MOTION_PATHWAY: {{DEPTH: 18, WIDTH: 4, STEM_KERNEL: [3, 3, 3], STEM_STRIDE: [1, 2, 2]}}
  MODIST: {{QUEUE_SIZE: 20, DIM: 16, PROJECTION_HIDDEN: 16, MOMENTUM: 0.9}}
MOTION: {{NUM_FRAMES: 4}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [48, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [puppets_actions_train], TEST: [puppets_actions_test], GALLERY: [puppets_actions_train]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 8, BASE_LR: 0.05, MAX_EPOCH: 4.0, CHECKPOINT_PERIOD: 0.3, CHECKPOINTS_KEPT: 2}}
TEST: {{NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1, EVAL_PERIOD: 2.0}}
""",
}


@dataclass(frozen=True)
class Job:
    """A command that is killed and started again.

    Attributes:
        arguments: the script and its arguments, for an output folder.
        content: by name, what is under final names in an output folder; raises for a file that is not whole. What a
            killed run has there must be equal to what an uninterrupted one has there in the end.
        result: the same, of a finished run; has what ``content`` may lack or have otherwise on the way.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    content: Callable[[Path], dict[str, Any]]
    result: Callable[[Path], dict[str, Any]]


def make_jobs(home: Path, words: Sequence[str] = ("",)) -> list[Job]:
    """Jobs with one of ``words`` in their names; their data go into ``home``, which ``MODIST_DATASETS`` has to name."""

    def wanted(name: str) -> bool:
        return any(word in name for word in words)

    size = {"frame_width": 64, "frame_height": 48, "fps": 10}
    scenes, actions = home / "scenes", home / "puppets_actions"
    generate(
        scenes,
        PuppetsParams(train_videos=8, val_videos=3, seconds=3.0, max_people=2, **size),
        seed=1,
        workers=0,
    )
    if wanted("training: classification") or wanted("training: pretraining"):
        generate(
            actions,
            PuppetsParams(
                train_videos=24, val_videos=12, seconds=2.5, max_people=1, single_action=True, **size
            ),
            seed=2,
            workers=0,
        )
    model = _write_model(home / "model.pth")
    film, boxes = _write_film(scenes / "videos", home / "film.mp4"), home / "film.csv"
    boxes.write_text("".join(f"film,{n / 5:g},0.2,0.2,0.6,0.9,,0.9\n" for n in range(200)))
    generated = ["--train-videos", "6", "--val-videos", "3", "--seconds", "3", "--fps", "10"]
    generated += ["--frame-width", "64", "--frame-height", "48", "--max-people", "2", "--workers", "0"]
    jobs = [
        *(_training(name, text, home, scenes) for name, text in _CONFIGS.items()),
        _tool(
            "demo",
            "tools/demo.py",
            lambda out: [str(film), "--checkpoint", str(model), "--persons", str(boxes), "--out", str(out)],
        ),
        _tool(
            "motion extraction",
            "tools/extract_motion.py",
            lambda out: [str(scenes / "videos"), "--out", str(out), "--workers", "0", "--short-side", "48"],
        ),
        _tool(
            "person detection",
            "tools/detect_persons.py",
            lambda out: [
                *(str(scenes / "train.yaml"), "--persons", str(scenes / "person_boxes_train.csv")),
                *("--out", str(out / "found.csv")),
            ],
        ),
        _tool(
            "generation",
            "datasets/prepare_puppets.py",
            lambda out: ["--out", str(out), *generated],
            passing=(".parts-",),
        ),
    ]
    return [job for job in jobs if wanted(job.name)]


def _training(name: str, text: str, home: Path, scenes: Path) -> Job:
    config = home / f"{name}.yaml"
    config.write_text(text.format(network=_NETWORK, scenes=scenes))

    def arguments(out: Path) -> list[str]:
        return [
            "tools/run_net.py",
            "--cfg",
            str(config),
            "--num-gpus",
            "0",
            "--resume",
            "OUTPUT_DIR",
            str(out),
        ]

    def content(out: Path) -> dict[str, Any]:
        for path in out.glob("checkpoints/model_*.pth"):
            torch.load(path, weights_only=True)
        if (out / "config.yaml").exists():
            get_cfg().merge_from_file(out / "config.yaml")
        return {}  # on the way, results are those of earlier evaluations

    def result(out: Path) -> dict[str, Any]:
        last = out / "checkpoints" / (out / "checkpoints/last_checkpoint").read_text().strip()
        state = torch.load(last, weights_only=True)
        for name in ("config", "hashes"):  # of the config, too, which has the output folder
            state.pop(name, None)
        found = _bytes_of(out / "inference", lambda path: path.name != "config.yaml")
        rows = (out / "metrics.json").read_text().splitlines()
        return {**found, "state": state, "evaluations": [row for row in rows if '"lr"' not in row]}

    return Job(f"training: {name}", arguments, content, result)


def _tool(
    name: str, script: str, arguments: Callable[[Path], list[str]], passing: tuple[str, ...] = ()
) -> Job:
    def content(out: Path) -> dict[str, Any]:
        return _bytes_of(
            out, lambda path: not any(part.startswith(passing or ("\0",)) for part in path.parts)
        )

    return Job(name, lambda out: [script, *arguments(out)], content, content)


def _bytes_of(folder: Path, wanted: Callable[[Path], bool]) -> dict[str, bytes]:
    """Files under final names: those of :func:`modist_det.utils.files.atomic_path` begin with a dot."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and wanted(path.relative_to(folder))
    }


def _write_model(path: Path) -> Path:
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.NUM_CLASSES", 3, "MODEL.DEVICE", "cpu"]
        + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
    )
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict(), "config": cfg.dump()}, path)
    return path


def _write_film(videos: Path, path: Path) -> Path:
    """Videos one after the other: long enough to be killed in the middle."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        numbers = itertools.count()
        for video in sorted(videos.rglob("*.mp4")):
            with av.open(str(video)) as source:
                for frame in source.decode(video=0):
                    frame.pts, frame.time_base = next(numbers), Fraction(1, 10)
                    target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return path
