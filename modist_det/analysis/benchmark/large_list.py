"""Benchmark of long lists: from the list to the first batch, and the memory of the loader's workers."""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...data.build import BadVideoMonitor, build_train_loader
from ...data.catalog import DatasetCatalog
from ...data.classification import ClassificationMapper
from ...puppets.writers import write_video
from ...video.packed import Video, plan_shards, write_index, write_shard
from .machine import describe_machine
from .report import Report, Series

__all__ = ["benchmark_large_list", "run_large_list"]

_CLASSES = 700
_FEW = 100  # rows of the list to whose workers the others are compared


def run_large_list(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py large_list``."""
    return benchmark_large_list(args.rows, args.workers, packed=args.packed)


def benchmark_large_list(rows: int, workers: int, *, packed: bool) -> Report:
    """Time the steps to the first training batch of a generated list of ``rows`` videos, each a file of its own.

    Args:
        packed: the videos are in a packed folder.
    """
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        few = _first_batch(_write(Path(folder) / "few", _FEW, packed), workers)
        many = _first_batch(_write(Path(folder) / "many", rows, packed), workers)
    settings: dict[str, Any] = {"rows": rows, "workers": workers, "packed": packed}
    for kind in ("private", "proportional"):
        settings[f"{kind} memory of a worker"] = (
            f"{many[1][kind]:.0f} MB ({few[1][kind]:.0f} with {_FEW} rows)"
        )
    return Report("a long list", "row", machine, settings, many[0])


def _write(folder: Path, rows: int, packed: bool) -> Path:
    """A list in the form of PySlowFast, its videos, and its description."""
    names = [f"class{i % _CLASSES:03}/video_{i:08}_000010_000020" for i in range(rows)]
    folder.mkdir()
    first = folder / "first.mp4"
    write_video(first, np.zeros((8, 32, 32, 3), np.uint8), 8)
    videos = folder / "videos"
    videos.mkdir()
    if packed:
        entries = [Video(f"{name}.mp4", str(first), first.stat().st_size, 0, {}) for name in names]
        shards = plan_shards(entries, 1 << 28)
        write_index(videos, shards, [write_shard(videos, i, shard) for i, shard in enumerate(shards)])
    else:
        for number in range(min(_CLASSES, rows)):
            (videos / f"class{number:03}").mkdir()
        for name in names:
            shutil.copyfile(first, videos / f"{name}.mp4")
    (folder / "list.csv").write_text("".join(f"{name}.mp4 {i % _CLASSES}\n" for i, name in enumerate(names)))
    description = folder / "list.yaml"
    description.write_text("format: video_list\nvideos: videos\nannotations: list.csv\n")
    return description


def _first_batch(description: Path, workers: int) -> tuple[list[Series], dict[str, float]]:
    """Times of reading the list and of making the first batch, and the largest memory of a worker then."""
    reading, starting = Series("list and files"), Series("loader, to the first batch")
    with reading.sample():
        records = DatasetCatalog.get(description).records()
    reading.items = starting.items = len(records)
    mapper = ClassificationMapper(
        _CLASSES, num_frames=4, sampling_rate=1, target_fps=8, min_size_test=32, num_views=1
    )
    with starting.sample():
        loader = build_train_loader(records, mapper, batch_size=8, num_workers=workers)
        batches = BadVideoMonitor().watch(loader)
        next(batches)
    starting.cpu.clear()  # the workers' is not seen here
    memory = [_memory(process.pid or 0) for process in multiprocessing.active_children()]
    largest = {kind: max((of[kind] for of in memory), default=0.0) for kind in ("private", "proportional")}
    del batches, loader
    return [reading, starting], largest


def _memory(process: int) -> dict[str, float]:
    """MB that belong to a process alone, and those with its share of what it shares (Linux)."""
    kinds = {"Private_Clean": "private", "Private_Dirty": "private", "Pss": "proportional"}
    found = {"private": 0.0, "proportional": 0.0}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, number, *_ = line.replace(":", " ").split()
        if name in kinds:
            found[kinds[name]] += int(number) / 1024
    return found
