"""Benchmark of training clips: decode, transform and the whole loader."""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from ...config import CfgNode, get_cfg
from ...data import transforms
from ...data.build import BadVideoMonitor, Item, build_train_loader, collate
from ...data.classification import ClassificationMapper
from ...data.datasets import DetectionRecord
from ...data.datasets.records import VideoRecord
from ...data.mappers import DetectionMapper, InHalves
from ...tasks import build_task
from ...utils.errors import UserError
from ...video.container import ANY_TITLES
from ...video.errors import PYAV_ERRORS
from ...video.listing import videos_in
from ...video.reader import VideoError, probe
from ...video.scaling import FrameScaler
from .machine import describe_machine
from .report import Report, Series, paired_ratio

__all__ = [
    "benchmark_data",
    "clips_of_videos",
    "decode_everything",
    "one_thread",
    "run_data",
    "time_calls",
    "training_clips",
    "video_files",
]


def run_data(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py data``."""
    if not (args.cfg or args.videos):
        raise UserError("give --videos PATH, or --cfg FILE to measure its training data")
    cfg = get_cfg(args.cfg or None, args.overrides)
    node = cfg.INPUT
    node.NUM_FRAMES = args.frames or node.NUM_FRAMES
    node.SAMPLING_RATE = args.stride or node.SAMPLING_RATE
    node.CROP_SIZE = args.crop or node.CROP_SIZE
    if args.short_side:
        node.MIN_SIZE_TRAIN = [args.short_side, args.short_side]
    records, mapper = clips_of_videos(cfg, args.videos, args.clips) if args.videos else training_clips(cfg)
    return benchmark_data(
        records,
        mapper,
        num_clips=args.clips,
        num_workers=args.workers,
        batch_size=args.batch_size,
        repeat=args.repeat,
        baseline=not args.no_baseline,
        settings={
            "task": cfg.TASK,
            "frames": node.NUM_FRAMES,
            "stride": node.SAMPLING_RATE,
            "short side": "-".join(map(str, sorted(set(node.MIN_SIZE_TRAIN)))),
            "crop": node.CROP_SIZE,
        },
    )


def training_clips(cfg: CfgNode) -> tuple[Sequence[Any], Any]:
    """Records and mapper of ``cfg``'s task and training data."""
    cfg.DATASETS.TEST = []  # it may be absent
    task = build_task(cfg)
    task.complete_config(cfg)
    return task.train_data(cfg)


def clips_of_videos(cfg: CfgNode, path: str, num_clips: int) -> tuple[Sequence[Any], Any]:
    """Records of random clips, the videos taking turns, and the mapper of ``cfg.INPUT``'s training clips.

    A clip lies inside its video where that is long enough. The mapper is that of ``cfg.TASK`` classification, or else
    of detection; a clip's only person then fills the frame.
    """
    cfg.MODEL.NUM_CLASSES = 1
    if cfg.TASK == "classification":
        files = [str(file) for file in video_files(path)]
        whole = [VideoRecord(n, str(n), files[n % len(files)], labels=(0,)) for n in range(num_clips)]
        return whole, ClassificationMapper.from_config(cfg, is_train=True)
    half = cfg.INPUT.NUM_FRAMES * cfg.INPUT.SAMPLING_RATE / cfg.INPUT.TARGET_FPS / 2
    rng = np.random.default_rng(0)
    videos = [(file, probe(file)) for file in video_files(path)]
    records = []
    for number in range(num_clips):
        file, info = videos[number % len(videos)]
        margin = min(half, info.duration / 2)
        second = float(rng.uniform(margin, info.duration - margin))
        records.append(
            DetectionRecord(
                video_id=file.stem,
                video=str(file),
                second=second,
                time=second,
                fps=info.fps,
                boxes=np.array([[0, 0, 1, 1]], dtype=np.float32),
                actions=((1,),),
                scores=np.ones(1, dtype=np.float32),
            )
        )
    return records, DetectionMapper.from_config(cfg, is_train=True)


def video_files(path: str) -> list[Path]:
    """The file ``path``, or the videos in the folder ``path``, sorted.

    Raises:
        UserError: there is no video in the folder.
    """
    if not Path(path).is_dir():
        return [Path(path)]
    files = sorted(map(Path, videos_in(path)))
    if not files:
        raise UserError(f"--videos: there is no video in {path}")
    return files


def benchmark_data(
    records: Sequence[Any],
    mapper: Any,
    *,
    num_clips: int,
    num_workers: int,
    batch_size: int,
    repeat: int,
    baseline: bool = True,
    settings: dict[str, Any] | None = None,
) -> Report:
    """Time single clips in this process on one thread, then ``repeat`` passes of a loader with workers.

    Args:
        records, mapper: of training clips. A mapper with the halves ``decode`` and ``transform``
            (:class:`DetectionMapper`, :class:`ClassificationMapper`) is timed in two parts, and in each of them what
            scales.
        num_clips: drawn from the records, for the times of single clips; each ``batch_size`` of them are collated.
        baseline: also run :func:`decode_everything` on each of these clips' videos, after the clip.
        settings: for the report.

    Raises:
        UserError: a video cannot be read.
    """
    machine = describe_machine(device=f"cpu, {num_workers} workers")
    with one_thread():
        series = _single_clips(records, mapper, num_clips, batch_size, baseline)
        loader, first_batch = _loader_passes(records, mapper, num_workers, batch_size, repeat)
    for row in series:
        row.facts["clips/s a worker"] = row.rate
        row.facts["clips/CPU s"] = row.items / statistics.median(row.cpu)
    loader.facts["clips/s a worker"] = loader.rate / max(1, num_workers)
    return Report(
        "training clips",
        "clip",
        machine,
        {
            **(settings or {}),
            "clips a batch": batch_size,
            "seconds to the first batch": round(first_batch, 2),
        },
        [*series, loader],
    )


def _single_clips(
    records: Sequence[Any], mapper: Any, num_clips: int, batch_size: int, baseline: bool
) -> list[Series]:
    everything = Series("baseline: every frame decoded, each to RGB")
    decode, scale = Series("decode"), Series("... of it scaling, to RGB")
    transform, resize = Series("transform"), Series("... of it crop, resize")
    sample, joining = Series("decode + transform"), Series("collate", items=batch_size)
    in_halves = isinstance(mapper, InHalves)
    rng = np.random.default_rng(0)
    # The first clip pays for what is loaded on first use.
    mapper(records[0], rng)
    items: list[Item] = []
    for index in np.resize(rng.permutation(len(records)), num_clips).tolist():
        record = records[index]
        if in_halves:
            with time_calls(scale, (FrameScaler, "__call__")), decode.sample():
                decoded = mapper.decode(record, rng)
            halves = decoded if isinstance(decoded, tuple) else (decoded,)
            with time_calls(resize, (transforms, "crop"), (transforms, "resize")), transform.sample():
                made = mapper.transform(record, *halves, rng)
        else:
            with sample.sample():
                made = mapper(record, rng)
        if baseline:
            with everything.sample():
                decode_everything(record.video)
        items.append(Item(made, []))
        if len(items) == batch_size:
            with joining.sample():
                collate(items)
            items.clear()
    if in_halves:
        sample = Series.total(sample.name, [decode, transform])
    clips = [decode, scale, transform, resize, sample] if in_halves else [sample]
    for part in clips[:-1]:
        part.facts["share of a clip (CPU)"] = paired_ratio(part.cpu, sample.cpu)
    if baseline:
        for series in clips:
            series.compare(everything, "x baseline")
        clips = [everything, *clips]
    return [*clips, joining] if joining.wall else clips


@contextlib.contextmanager
def time_calls(series: Series, *functions: tuple[Any, str]) -> Iterator[None]:
    """One sample of ``series``: the time of all calls of these functions (owner, name) while the block runs."""
    calls = Series(series.name)

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with calls.sample():
                return function(*args, **kwargs)

        return call

    originals = [getattr(owner, name) for owner, name in functions]
    try:
        for (owner, name), original in zip(functions, originals, strict=True):
            setattr(owner, name, timed(original))
        yield
    finally:
        for (owner, name), original in zip(functions, originals, strict=True):
            setattr(owner, name, original)
    series.wall.append(sum(calls.wall))
    series.cpu.append(sum(calls.cpu))


def decode_everything(path: str) -> int:
    """The baseline: decode all frames on one thread and convert each to RGB, without seeking.

    Returns the number of frames. Nothing is scaled or kept.

    Raises:
        VideoError: not a video file, or one that cannot be read.
    """
    if Path(path).is_dir():
        raise VideoError(path, "it is a folder of frames, and the baseline decodes files; add --no-baseline")
    frames = 0
    to_rgb = FrameScaler()  # faster than frame.to_ndarray("rgb24"), which gives the same pixels
    try:
        with av.open(path, **ANY_TITLES) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            for frame in container.decode(stream):
                to_rgb(frame, frame.height, frame.width)
                frames += 1
    except PYAV_ERRORS as error:
        raise VideoError(path, f"the baseline cannot decode it ({error})") from error
    return frames


def _loader_passes(
    records: Sequence[Any], mapper: Any, num_workers: int, batch_size: int, repeat: int
) -> tuple[Series, float]:
    """Times of passes of two batches a worker, and seconds until the first batch of all."""
    batches_a_pass = 2 * max(1, num_workers)
    start = Series("start")
    passes = Series(f"loader, {num_workers} workers", items=batches_a_pass * batch_size)
    with start.sample():
        loader = build_train_loader(records, mapper, batch_size=batch_size, num_workers=num_workers)
        batches = BadVideoMonitor().watch(loader)
        next(batches)
    # Whoever waits for batches finds none in stock, so a pass takes as long as the workers need for it.
    for _ in range(repeat):
        with passes.sample():
            for _ in range(batches_a_pass):
                next(batches)
    if num_workers:
        passes.cpu.clear()  # the workers' is not seen here
    return passes, start.wall[0]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """As in a worker process."""
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)
