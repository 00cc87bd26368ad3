#!/usr/bin/env python3
"""CPU seconds of confidence intervals for results of AVA's size, and of metrics of tubes of MultiSports' size.

All data are generated. With ``--mmaction2``, its ``multisports_utils.py`` (of ``mmaction/evaluation/functional``)
evaluates the same tubes, already in its own form, and the results are compared.
"""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modist_det.analysis.benchmark.synthetic import synthetic_detections, synthetic_ground_truth
from modist_det.evaluation import frame_map, link_detections, video_map
from modist_det.evaluation.ava import match_ava
from modist_det.evaluation.bootstrap import ava_hits, compare_hits, map_interval
from modist_det.evaluation.protocols import PROTOCOLS
from modist_det.formats.ava.files import LabelEntry

VIDEOS, CLASSES, TRUE_TUBES, FALSE_TUBES, FRAMES = 3200, 66, 37_701, 34_000, 24.4
THRESHOLDS = (0.2, 0.5, 0.75, "0.5:0.95", "0.05:0.45", "0.1:0.9")


def seconds(function: Callable[[], Any], repeat: int) -> tuple[str, Any]:
    """Median, least and greatest CPU time, and the result."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return f"{statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f})", result


def intervals(repeat: int) -> None:
    truth = synthetic_ground_truth()
    labels = {number: LabelEntry(f"action {number}") for number in range(1, 81)}
    a, b = (ava_hits(match_ava(truth, synthetic_detections(truth, seed=seed), labels)) for seed in (0, 1))
    print(f"AVA: {len(a.score):,} detections that count, {len(a.videos)} videos; 1,000 draws")
    print("interval  ", seconds(lambda: map_interval(a), repeat)[0])
    print("comparison", seconds(lambda: compare_hits(a, b), repeat)[0])


def tubes() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ground truth, and detections: shifted copies of nine tenths of it, and about as many random tubes."""
    rng = np.random.default_rng(0)

    def random(count: int) -> list[dict[str, Any]]:
        lengths, starts = 1 + rng.poisson(FRAMES - 1, count), rng.integers(1, 700, count)
        corners, sizes = rng.uniform(0, 600, (count, 2)), rng.uniform(60, 300, (count, 2))
        numbers = zip(rng.integers(VIDEOS, size=count), rng.integers(CLASSES, size=count), strict=True)
        return [
            {
                "video": f"v{video}",
                "class": f"c{label:02}",
                "frames": start + np.arange(length),
                "boxes": np.hstack([corner, corner + size]) + 2.0 * np.arange(length)[:, None],
                "score": score,
            }
            for (video, label), start, length, corner, size, score in zip(
                numbers, starts, lengths, corners, sizes, rng.random(count), strict=True
            )
        ]

    truth = random(TRUE_TUBES)
    found = [
        {**t, "frames": t["frames"] + rng.integers(0, 5), "boxes": t["boxes"] + rng.normal(0, 15, 4)}
        for t in truth
        if rng.random() < 0.9
    ]
    return truth, found + random(FALSE_TUBES)


def boxes_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Frame detections with scores of their own, since the order of equal ones is not defined in mmaction2."""
    rng = np.random.default_rng(1)
    return [
        {"video": t["video"], "class": t["class"], "frame": frame, "box": box, "score": score}
        for t in found
        for frame, box, score in zip(
            t["frames"].tolist(), t["boxes"].tolist(), rng.random(len(t["frames"])).tolist(), strict=True
        )
    ]


def metrics_of_tubes(repeat: int, mmaction2: Path | None) -> None:
    truth, found = tubes()
    boxes = boxes_of(found)
    counts = [sum(len(t["frames"]) for t in several) for several in (truth, found)]
    print(f"tubes: {len(truth):,} with {counts[0]:,} boxes; detected {len(found):,} with {counts[1]:,}")
    results: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        time_tubes, by_tubes = seconds(lambda p=protocol: video_map(truth, found, p, THRESHOLDS), repeat)
        time_frames, by_frames = seconds(lambda p=protocol: frame_map(truth, boxes, p), repeat)
        results[protocol] = by_tubes, by_frames
        print(f"{protocol:12} video_map {time_tubes}   frame_map {time_frames}")
    part = boxes_of(found[:: len(found) // 2000])
    for protocol in PROTOCOLS:
        if protocol != "yowo":  # its time depends on the lengths of the videos
            start = time.process_time()
            link_detections(part, protocol)
            print(
                f"{protocol:12} link_detections, ms a box: {(time.process_time() - start) / len(part) * 1e3:.3f}"
            )
    if mmaction2 is not None:
        theirs(mmaction2, truth, found, boxes, results["multisports"])


def theirs(path: Path, truth: list[Any], found: list[Any], boxes: list[Any], ours: Any) -> None:
    logger = types.SimpleNamespace(get_current_instance=lambda: logging.getLogger("mmaction2"))
    sys.modules["mmengine"] = types.ModuleType("mmengine")
    for name, content in (("mmengine.logging", {"MMLogger": logger}), ("rich.progress", {"track": iter})):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    # NumPy no longer turns an array of one number into an int.
    source = re.sub(r"(== tm(?:in|ax)\)\[0\])\)", r"\1[0])", path.read_text(encoding="utf-8"))
    functions: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), functions)
    videos = sorted({t["video"] for t in truth + found})
    numbers = {video: number for number, video in enumerate(videos)}
    real: dict[str, dict[int, list[np.ndarray]]] = {video: {} for video in videos}
    for t in truth:
        rows = np.column_stack([t["frames"], t["boxes"]])
        real[t["video"]].setdefault(int(t["class"][1:]), []).append(rows)
    names = [f"c{label:02}" for label in range(CLASSES)]
    groundtruth = {"labels": names, "gttubes": real, "test_videos": [videos]}
    detected: dict[int, list[Any]] = {label: [] for label in range(CLASSES)}
    for t in found:
        detected[int(t["class"][1:])].append(
            (t["video"], t["score"], np.column_stack([t["frames"], t["boxes"]]))
        )
    rows = np.array(
        [(numbers[b["video"]], b["frame"], int(b["class"][1:]), b["score"], *b["box"]) for b in boxes]
    )
    time_frames, ap = seconds(lambda: functions["frameAP"](groundtruth, rows, 0.5, False), 1)
    print(f"mmaction2: frame AP {time_frames}, {ap / 100:.6f}; ours {ours[1]['0.5']['mean']:.6f}")
    time_tubes, by_range = seconds(lambda: functions["videoAP_all"](groundtruth, detected), 1)
    print(f"mmaction2: video AP at its 28 thresholds {time_tubes}, {by_range}")
    print("ours", {name: round(100 * ours[0][name]["mean"], 4) for name in THRESHOLDS[3:]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--mmaction2", type=Path, metavar="FILE", help="its multisports_utils.py")
    args = parser.parse_args()
    intervals(args.repeat)
    metrics_of_tubes(args.repeat, args.mmaction2)


if __name__ == "__main__":
    main()
