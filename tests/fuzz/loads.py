"""Time and memory that large inputs take, each read in a process of its own.

python -m tests.fuzz.loads                 # at full size
python -m tests.fuzz.loads --scale 0.01
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing as mp
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .workers import peak_memory

__all__ = ["LOADS", "main", "measure"]


class Load(NamedTuple):
    """``make(folder, size)`` writes the input, ``read(folder)`` gives how much was read; it is of ``module``."""

    make: Callable[[Path, int], object]
    read: Callable[[Path], int]
    size: int
    module: str  # imported before the measurement


class Measured(NamedTuple):
    found: int
    seconds: float
    cpu: float  # seconds
    memory: int  # bytes at the peak, above those of the imports


def _make_boxes(folder: Path, rows: int, name: str = "video{:05d}") -> None:
    with (folder / "boxes.csv").open("w") as out:
        for i in range(rows):
            second, action = 902 + i // 10 % 897, i % 80 + 1
            out.write(
                f"{name.format(i // 9000)},{second:04d},0.123,0.25,0.5{i % 10},0.875,{action},0.9{i % 997}\n"
            )


def _make_quoted_boxes(folder: Path, rows: int) -> None:
    _make_boxes(folder, rows, '"video, {:05d}"')


def _read_boxes(folder: Path) -> int:
    from modist_det.formats.ava.files import read_detections

    return len(read_detections(folder / "boxes.csv"))


def _make_kinetics(folder: Path, rows: int) -> None:
    classes = [f"class {number:03d}" for number in range(700)]
    for label in classes:
        (folder / "videos" / label).mkdir(parents=True)
    with (folder / "train.csv").open("w") as out:
        out.write("label,youtube_id,time_start,time_end,split\n")
        for i in range(rows):
            label = classes[i % len(classes)]
            out.write(f"{label},id{i:09d},10,20,train\n")
            (folder / "videos" / label / f"id{i:09d}_000010_000020.mp4").touch()


def _read_kinetics(folder: Path) -> int:
    from modist_det.data.datasets.kinetics import KineticsDataset

    return len(KineticsDataset("kinetics", folder / "videos", folder / "train.csv").records())


def _make_result(folder: Path, keyframes: int) -> None:
    person = {"track_id": 1, "box": [0.1, 0.2, 0.3, 0.4], "person_score": 0.9, "scores": [0.123456] * 80}
    content = {
        "format": "modist_det.video_actions/1",
        "video": "film",
        "width": 320,
        "height": 240,
        "model": "m",
        "person_detector": "p",
        "classes": [{"id": i + 1, "name": f"class {i}"} for i in range(80)],
        "keyframes": [{"second": i / 2, "people": [person] * 3} for i in range(keyframes)],
        "tubes": [],
        "duration": keyframes / 2,
        "num_frames": keyframes * 12,
    }
    (folder / "film.json").write_text(json.dumps(content))


def _read_result(folder: Path) -> int:
    from modist_det.inference import VideoActions

    return len(VideoActions.from_json(folder / "film.json").keyframes)


def _make_frames(folder: Path, count: int) -> None:
    data = cv2.imencode(".jpg", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    for i in range(count):
        (folder / f"img_{i + 1:06d}.jpg").write_bytes(data)


def _read_frames(folder: Path) -> int:
    """One clip of 32 frames out of all."""
    from modist_det.video.reader import open_video

    with open_video(folder, fps=30) as video:
        video.frames_at_indices(range(0, 64, 2))
        return video.info.num_frames


LOADS = {
    "csv of detections, 3 M rows": Load(_make_boxes, _read_boxes, 3_000_000, "modist_det.formats.ava.files"),
    "the same with quoted names": Load(
        _make_quoted_boxes, _read_boxes, 3_000_000, "modist_det.formats.ava.files"
    ),
    "Kinetics, 650,000 rows and files": Load(
        _make_kinetics, _read_kinetics, 650_000, "modist_det.data.datasets.kinetics"
    ),
    "result JSON, 20,000 keyframes": Load(_make_result, _read_result, 20_000, "modist_det.inference"),
    "folder of 27,000 frames": Load(_make_frames, _read_frames, 27_000, "modist_det.video.reader"),
}


def _child(name: str, folder: Path, connection: Connection) -> None:
    importlib.import_module(LOADS[name].module)
    begin, cpu, memory = time.monotonic(), time.process_time(), peak_memory()
    found = LOADS[name].read(folder)
    connection.send(
        Measured(found, time.monotonic() - begin, time.process_time() - cpu, peak_memory() - memory)
    )


def measure(name: str, scale: float = 1.0) -> Measured:
    """Make one input and read it in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="modist_loads_") as folder:
        LOADS[name].make(Path(folder), max(int(LOADS[name].size * scale), 64))
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(name, Path(folder), theirs))
        process.start()
        theirs.close()
        measured = ours.recv()
        process.join()
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.loads", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes (default: %(default)s)")
    args = parser.parse_args(argv)
    print(f"{'input':34}{'read':>10}{'seconds':>9}{'CPU (s)':>9}{'memory (MB)':>13}")
    for name in LOADS:
        found, seconds, cpu, memory = measure(name, args.scale)
        print(f"{name:34}{found:10}{seconds:9.1f}{cpu:9.1f}{memory >> 20:13}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
