"""Benchmark of testing on all views of a video: decoding, forward passes, and both together."""

from __future__ import annotations

import argparse
import resource
import statistics
from typing import Any

import numpy as np
import torch

from ...config import CfgNode, get_cfg
from ...data.build import BadVideoMonitor, build_test_loader
from ...data.classification import ClassificationMapper
from ...data.datasets.records import VideoRecord
from ...engine.evaluate import place_model
from ...engine.precision import autocast_factory
from ...engine.setup import resolve_device, seed_everything
from ...modeling import build_model
from ...utils.errors import UserError
from .data import one_thread, video_files
from .machine import describe_machine
from .report import Report, Series

__all__ = ["benchmark_views", "run_views"]


def run_views(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py views``."""
    cfg = get_cfg(args.cfg, args.overrides)
    if args.threads:
        torch.set_num_threads(args.threads)
    return benchmark_views(
        cfg, args.videos, num_videos=args.count, num_workers=args.workers, repeat=args.repeat
    )


def benchmark_views(cfg: CfgNode, videos: str, *, num_videos: int, num_workers: int, repeat: int) -> Report:
    """Time, for each video: one decoding for all views, a decoding for each view, the forward passes, the test.

    The test is a pass of the loader, with workers, and the model over ``num_videos`` videos; its time is that of the
    whole pass, from no worker to the last score, divided by the number of videos (CPU time with the workers'). Passes
    of the test and of its parts alternate. Predictions are copied to the CPU, as an evaluator does.

    Args:
        cfg: of TASK classification; ``INPUT``, ``TEST``, ``MODEL`` and ``SOLVER.AMP`` count.
        videos: a video file, or a folder of them, taken in turns.
        repeat: passes.

    Raises:
        UserError: another task, or a video that cannot be read.
    """
    if cfg.TASK != "classification":
        raise UserError(f"TASK is {cfg.TASK}; views are of TASK classification")
    device = resolve_device(cfg.MODEL.DEVICE)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or 400
    seed_everything(cfg.SEED)
    model = place_model(cfg, build_model(cfg), device).eval()
    mapper = ClassificationMapper.from_config(cfg, is_train=False)
    files = video_files(videos)
    records = [
        VideoRecord(number, f"{number}", str(files[number % len(files)]), labels=(0,))
        for number in range(num_videos)
    ]

    def forward(batch: Any) -> None:
        for prediction in model(batch):
            prediction["scores"].cpu()

    views = mapper.num_views * len(mapper.crop_positions)
    once, each = Series("decode once"), Series(f"decode {mapper.num_views} views one by one")
    forwards = Series(f"{views} forward passes")
    test = Series(f"test, {num_workers} workers")
    # Of each pass, a video's share: both parts one after the other, and the pass.
    together, whole = Series("parts"), Series("pass")
    rng = np.random.default_rng(0)
    with torch.no_grad(), autocast_factory(cfg, device)():
        forward({"video": mapper(records[0], rng)["video"].unsqueeze(0)})
        for _ in range(repeat):
            for record in records:
                with one_thread():
                    with once.sample():
                        sample = mapper(record, rng)
                    with each.sample():
                        _decode_each_view(mapper, record, rng)
                batch: Any = {"video": sample["video"].unsqueeze(0)}
                with forwards.sample():
                    forward(batch)
            loader = build_test_loader(
                records, mapper, batch_size=cfg.TEST.BATCH_SIZE, num_workers=num_workers
            )
            of_workers = _cpu_of_workers()
            with whole.sample():
                for batch in BadVideoMonitor().watch(loader):
                    forward(batch)
            test.wall.append(whole.wall[-1] / num_videos)
            test.cpu.append((whole.cpu[-1] + _cpu_of_workers() - of_workers) / num_videos)
            together.wall.append(
                statistics.mean(once.wall[-num_videos:]) + statistics.mean(forwards.wall[-num_videos:])
            )
            together.cpu.append(
                statistics.mean(once.cpu[-num_videos:]) + statistics.mean(forwards.cpu[-num_videos:])
            )
    each.compare(once, "x decode once")
    test.compare(together, "x decode once + forwards")
    return Report(
        f"{mapper.num_views} x {len(mapper.crop_positions)} views of a video",
        "video",
        describe_machine(torch.get_num_threads(), name),
        {
            "frames": cfg.INPUT.NUM_FRAMES,
            "stride": cfg.INPUT.SAMPLING_RATE,
            "side": cfg.INPUT.MIN_SIZE_TEST,
            "backbone": cfg.MODEL.BACKBONE.NAME,
            "videos a pass": num_videos,
            "videos a batch": cfg.TEST.BATCH_SIZE,
        },
        [once, each, forwards, test],
    )


def _cpu_of_workers() -> float:
    """CPU seconds of processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _decode_each_view(mapper: ClassificationMapper, record: VideoRecord, rng: np.random.Generator) -> None:
    """The alternative without shared decoding: open the video and decode the clip for each view."""
    with mapper.open_video(record.video, record.fps) as video:
        numbers = mapper.frame_numbers(record, video.info, rng)
    for of_view in np.split(numbers, mapper.num_views):
        with mapper.open_video(record.video, record.fps) as video:
            video.frames_at_indices(of_view, short_side=mapper.min_size_test)
