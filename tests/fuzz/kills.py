"""Commands killed at random moments: no half-written file under a final name, nothing left over, the same result.

    python -m tests.fuzz.kills --kills 30                     # of each command
    python -m tests.fuzz.kills --kills 10 --command demo --signal TERM

A command is run whole once. Then it is started again and again on one output folder and killed between its first
file and its end; after each kill every file under a final name must be whole. At last it runs to its end: no
temporary file may be left, and the files have to be those of the first run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import yaml

from modist_det.checkpoint.reading import read_checkpoint
from modist_det.motion.map_file import MapFile
from modist_det.utils.ava_files import read_detections, read_person_boxes
from modist_det.utils.label_map import read_label_map

from .networks import red_finder

__all__ = ["COMMANDS", "Report", "check_whole", "main", "run_kills", "set_up"]

ROOT = Path(__file__).resolve().parents[2]
_TINY = """\
MODEL: {DEVICE: cpu, RESNET3D: {DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3]}%s}
INPUT: {NUM_FRAMES: 4, SAMPLING_RATE: 3, MIN_SIZE_TRAIN: [36, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32%s}
DATALOADER: {NUM_WORKERS: 0}
SOLVER: {IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 3.0, CHECKPOINT_PERIOD: 0.2, CHECKPOINTS_KEPT: 2}
"""
_CONFIGS = {
    "detection": _TINY % (", NUM_CLASSES: 0", "")
    + "DATASETS: {TRAIN: [puppets/train.yaml], TEST: [puppets/val.yaml]}\n",
    "pretraining": "TASK: pretraining\n"
    + _TINY
    % (
        ", META_ARCHITECTURE: MoDist, MOTION_PATHWAY: {DEPTH: 18, WIDTH: 4, STEM_KERNEL: [3, 3, 3], "
        "STEM_STRIDE: [1, 2, 2]}, MODIST: {QUEUE_SIZE: 8, DIM: 16, PROJECTION_HIDDEN: 16}",
        ", CLIP_SHIFT: [0.2, 1.0]",
    )
    + "MOTION: {NUM_FRAMES: 4}\n"
    "DATASETS: {TRAIN: [actions/train.yaml], TEST: [actions/test.yaml], GALLERY: [actions/train.yaml]}\n"
    "TEST: {NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1}\n",
    "classification": "TASK: classification\n"
    + _TINY
    % (
        ", META_ARCHITECTURE: VideoClassifier, HEAD: {NAME: ClassificationHead, ACTIVATION: softmax}, "
        "LOSS: {NAME: cross_entropy}",
        "",
    )
    + "DATASETS: {TRAIN: [actions/train.yaml], TEST: [actions/test.yaml]}\n"
    "TEST: {NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1}\n",
}
COMMANDS = {
    **{
        task: f"tools/run_net.py --cfg {task}.yaml --resume OUTPUT_DIR {{out}}"
        for task in ("pretraining", "detection", "classification")
    },
    "demo": "tools/demo.py puppets/videos/val_0000.mp4 puppets/videos/val_0001.mp4 puppets/videos/val_0002.mp4 "
    "--checkpoint model.pth --persons puppets/tracks_val.json --short-side 64 --out {out}",
    "extraction": "tools/extract_motion.py puppets/videos --out {out} --workers 1 --short-side 48",
    "persons": "tools/detect_persons.py puppets/videos --persons yolox_red.onnx --every 0.3 "
    "--person-option min_score=0.8 --out {out}/p.csv",
    "generation": "datasets/prepare_puppets.py --out {out} --seed 5 --train-videos 12 --val-videos 4 "
    "--frame-width 64 --frame-height 48 --fps 10 --seconds 3 --workers 1",
}
# Grow line by line, and are read so: a last line may be cut.
_LOGS = ("log.txt", "metrics.json", "events.out")


@dataclass
class Report:
    """What became of the kills of one command."""

    name: str
    kills: int = 0
    finished: int = 0  # runs that ended before their signal
    seconds: float = 0.0  # of a whole run
    faults: list[str] | None = None

    def __str__(self) -> str:
        faults = self.faults or []
        line = f"{self.name:15}{self.kills:7}{self.finished:10}{self.seconds:9.1f}{len(faults):8}"
        return "\n".join([line, *(f"  {fault}" for fault in faults)])


def set_up(home: Path) -> None:
    """Data, configs, a model and a detector for all commands."""
    import torch

    from modist_det.config import get_cfg
    from modist_det.data.puppets import PuppetsParams, generate
    from modist_det.modeling import build_model

    size = {"frame_width": 64, "frame_height": 48, "fps": 10, "seconds": 3.0}
    generate(
        home / "puppets", PuppetsParams(train_videos=8, val_videos=3, max_people=2, **size), seed=1, workers=0
    )
    single = PuppetsParams(train_videos=24, val_videos=12, max_people=1, single_action=True, **size)
    generate(home / "actions", single, seed=2, workers=0)
    for subset in ("train", "test"):
        facts = {"format": "ucf101", "videos": "videos", "annotations": "ucfTrainTestlist", "subset": subset}
        (home / f"actions/{subset}.yaml").write_text(yaml.safe_dump(facts))
    for task, text in _CONFIGS.items():
        (home / f"{task}.yaml").write_text(text)
    cfg = get_cfg()
    cfg.merge_from_file(home / "detection.yaml")
    cfg.merge_from_list(["MODEL.NUM_CLASSES", "12"])
    torch.save({"model": build_model(cfg).state_dict(), "config": cfg.dump()}, home / "model.pth")
    (home / "yolox_red.onnx").write_bytes(red_finder())


def _is_temporary(path: Path, out: Path) -> bool:
    return any(part.startswith(".") or part.endswith(".parts") for part in path.relative_to(out).parts)


def _files(out: Path) -> list[Path]:
    return [path for path in sorted(out.rglob("*")) if path.is_file()]


def _check_video(path: Path) -> None:
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        if not frames or (container.streams.video[0].frames or frames) != frames:
            raise ValueError(f"{frames} frames")


def _check_image(path: Path) -> None:
    if cv2.imread(str(path)) is None:
        raise ValueError("not an image")


def _check_boxes(path: Path) -> None:
    """Detections or person boxes; ground truth has its own number of columns."""
    text = path.read_text()
    if not text.endswith("\n"):
        raise ValueError("its last row is cut")
    if any(line.count(",") == 7 for line in text.splitlines()[:50]):
        (read_person_boxes if ",," in text else read_detections)(path)


def _verify_maps(path: Path) -> None:
    with MapFile(path) as maps:
        maps.verify()


_CHECKS: dict[str, Callable[[Path], object]] = {
    ".pth": read_checkpoint,
    ".json": lambda path: json.loads(path.read_text()),
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".pbtxt": read_label_map,
    ".csv": _check_boxes,
    ".mp4": _check_video,
    ".png": _check_image,
    ".motion": _verify_maps,
}


def check_whole(out: Path) -> list[str]:
    """What is wrong with the files under final names."""
    faults = []
    for path in _files(out):
        if _is_temporary(path, out) or path.name.startswith(_LOGS):
            continue
        try:
            if not path.stat().st_size and path.suffix in _CHECKS:
                raise ValueError("empty")
            _CHECKS.get(path.suffix, Path.stat)(path)
        except Exception as error:
            faults.append(f"{path.relative_to(out)}: {type(error).__name__}: {error}")
    return faults


def digest(out: Path) -> dict[str, str]:
    """What two runs must have in common: hashes of files; of checkpoints, of their tensors."""
    found = {}
    for path in _files(out):
        name = str(path.relative_to(out))
        if path.suffix == ".pth":
            content = read_checkpoint(path)
            tensors = {key: tensor.numpy().tobytes() for key, tensor in sorted(content["model"].items())}
            found[name] = hashlib.sha256(b"".join(tensors.values())).hexdigest()
        elif path.suffix in (".csv", ".motion", ".pbtxt", ".mp4", ".txt") and not path.name.startswith(_LOGS):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _start(name: str, home: Path, out: Path) -> subprocess.Popen:
    words = [word.format(out=out) for word in COMMANDS[name].split()]
    (home / "tmp").mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(home / "tmp"), "OMP_NUM_THREADS": "1"}
    with (home / "said.txt").open("w") as said:
        return subprocess.Popen(
            [sys.executable, str(ROOT / words[0]), *words[1:]],
            cwd=home,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _run_whole(name: str, home: Path, out: Path) -> tuple[float, float]:
    """Run to the end; seconds until the first file and in all."""
    begin, first = time.monotonic(), 0.0
    process = _start(name, home, out)
    while process.poll() is None:
        first = first or (time.monotonic() - begin if out.is_dir() and _files(out) else 0.0)
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(
            f"{name} ends with status {process.returncode}: {(home / 'said.txt').read_text()[-2000:]}"
        )
    return first, time.monotonic() - begin


def run_kills(name: str, home: Path, kills: int, number: int = signal.SIGKILL, seed: int = 0) -> Report:
    """Kill a command ``kills`` times and run it to its end.

    The signal goes to the command's process alone, as that of a scheduler or of the memory watchdog does.
    """
    rng = np.random.default_rng([seed, kills, len(name)])
    report = Report(name, faults=[])
    assert report.faults is not None
    reference, out = home / f"{name}_reference", home / f"{name}_out"
    first, report.seconds = _run_whole(name, home, reference)
    expected = digest(reference)
    while report.kills < kills and report.finished < 3 * kills:
        process = _start(name, home, out)
        begun = time.monotonic()
        moment = rng.uniform(0.8 * first, report.seconds)
        while process.poll() is None and time.monotonic() - begun < moment:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(number)
            report.kills += 1
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                report.faults.append(f"kill {report.kills}: it goes on for 60 s after signal {number}")
                process.kill()
                process.wait()
        else:
            report.finished += 1
        report.faults += [f"kill {report.kills}: {fault}" for fault in check_whole(out)]
        if process.returncode == 0:
            shutil.rmtree(out, ignore_errors=True)  # it was done: begin anew
    _run_whole(name, home, out)
    left = [path for path in _files(out) if _is_temporary(path, out) and ".tmp-" in path.name]
    left += [path for path in _files(home / "tmp") if "torch" not in str(path)]
    report.faults += [f"left over: {path}" for path in left]
    found = digest(out)
    differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    report.faults += [f"differs from the run that was not killed: {key}" for key in differing]
    return report


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each command (default: %(default)s)")
    parser.add_argument("--command", action="append", choices=sorted(COMMANDS))
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT", "HUP"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    number = getattr(signal, f"SIG{args.signal}")
    with tempfile.TemporaryDirectory(prefix="modist_kills_") as folder:
        home = Path(folder)
        set_up(home)
        print(f"{'command':15}{'kills':>7}{'finished':>10}{'whole(s)':>9}{'faults':>8}", flush=True)
        reports = []
        for name in args.command or COMMANDS:
            reports.append(run_kills(name, home, args.kills, number, args.seed))
            print(reports[-1], flush=True)
    return int(any(report.faults for report in reports))


if __name__ == "__main__":
    sys.exit(main())
