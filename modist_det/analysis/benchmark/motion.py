"""Benchmark of motion maps: pretraining samples with and without them, and flow estimators alone."""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from ...config import CfgNode, get_cfg
from ...data.datasets.records import VideoRecord
from ...data.motion_sources import find_sources
from ...data.pretraining import PretrainingMapper
from ...motion.extract import ExtractionSettings, extract_motion
from ...utils.cli import parse_options
from ...video.reader import open_video
from .data import one_thread, video_files
from .machine import describe_machine
from .report import Report, Series

__all__ = ["benchmark_extraction", "benchmark_motion", "run_extraction", "run_motion"]


def run_motion(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py motion``."""
    cfg = get_cfg(args.cfg, args.overrides)
    return benchmark_motion(cfg, args.videos, args.samples)


def benchmark_motion(cfg: CfgNode, videos: str, num_samples: int) -> Report:
    """Time pretraining samples (two clips of a video) on one thread: RGB alone, maps from files, maps computed.

    The three are made from the same clips one after the other. The files are extracted for it, into a folder that is
    deleted afterwards.

    Args:
        cfg: ``INPUT`` and ``MOTION`` count, but not ``MOTION.CACHE``.
        videos: a video file or a folder of them.

    Raises:
        UserError: there is no video, or one cannot be read.
    """
    files = video_files(videos)
    records = [VideoRecord(number, file.stem, str(file)) for number, file in enumerate(files)]
    rgb, cached, computed = Series("RGB alone"), Series("motion from files"), Series("motion computed")
    with tempfile.TemporaryDirectory() as folder, one_thread():
        extract_motion(
            find_sources([str(f) for f in files], folder), folder, _settings(cfg), show_progress=False
        )
        mappers = [
            (rgb, _mapper(cfg, enabled=False)),
            (cached, _mapper(cfg, cache=folder)),
            (computed, _mapper(cfg)),
        ]
        for _, mapper in mappers:  # what is loaded on first use
            mapper(records[0], np.random.default_rng(0))
        for number in range(num_samples):
            for series, mapper in mappers:
                with series.sample():
                    mapper(records[number % len(records)], np.random.default_rng(number))
    for series in (cached, computed):
        series.compare(rgb, "x RGB alone")
    motion = cfg.MOTION
    return Report(
        "pretraining samples, two clips each",
        "sample",
        describe_machine(device="cpu, one thread"),
        {
            "frames": cfg.INPUT.NUM_FRAMES,
            "stride": cfg.INPUT.SAMPLING_RATE,
            "crop": cfg.INPUT.CROP_SIZE,
            "maps": f"{motion.NUM_FRAMES} of {motion.KIND}",
            "estimator": motion.ESTIMATOR,
            "working short side": motion.SHORT_SIDE,
        },
        [rgb, cached, computed],
    )


def run_extraction(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py extraction``."""
    return benchmark_extraction(args.videos, args.estimators, args.short_side or None, args.repeat)


def benchmark_extraction(videos: str, estimators: list[str], short_side: int | None, repeat: int) -> Report:
    """Time flow edges of every frame of videos, decoding included, on one thread, for each estimator.

    Args:
        videos: a video file or a folder of them.
        estimators: ``NAME`` or ``NAME,OPTION=VALUE,...``, as in "RAFT,size=small,weights=raft.pth".
        short_side: working resolution; None: that of the videos.
        repeat: passes over the videos.

    Raises:
        UserError: no such estimator, or a video cannot be read.
    """
    files = video_files(videos)
    readers = {}
    for text in estimators:
        name, *options = text.split(",")
        settings = ExtractionSettings(
            estimator=name,
            options=tuple(sorted(parse_options("--estimators", options).items())),
            short_side=short_side,
        )
        readers[text] = settings.build_reader()
    frames = 0
    for file in files:
        with open_video(file) as video:
            frames += video.info.num_frames
    rows = {name: Series(name, items=frames) for name in readers}
    with one_thread():
        for _ in range(repeat):
            for name, reader in readers.items():
                with rows[name].sample():
                    for file in files:
                        with open_video(file) as video:
                            deque(reader.all_maps(video), maxlen=0)
    return Report(
        "extraction of flow edges",
        "frame",
        describe_machine(device="cpu, one thread"),
        {"videos": len(files), "frames a pass": frames, "working short side": short_side or "native"},
        list(rows.values()),
    )


def _settings(cfg: CfgNode) -> ExtractionSettings:
    node = cfg.MOTION
    return ExtractionSettings(
        kind=node.KIND,
        estimator=node.ESTIMATOR,
        gap_seconds=node.GAP_SECONDS,
        short_side=node.SHORT_SIDE,
        max_frame_side=max(cfg.INPUT.MIN_SIZE_TRAIN),
    )


def _mapper(cfg: CfgNode, enabled: bool = True, cache: str | Path = "") -> PretrainingMapper:
    own: Any = cfg.clone()
    own.defrost()
    own.MOTION.ENABLED, own.MOTION.CACHE = enabled, str(cache)
    return PretrainingMapper.from_config(own)
