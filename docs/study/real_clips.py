#!/usr/bin/env python3
"""The attempts of docs/STUDY_LOG.md: pretraining without labels on three sets of real clips, judged by frozen features.

Clips are decoded once, to a cache; training reads the cache, with the project's sampling, augmentation, networks and
metrics. DATA has a folder for each of interactions, gestures and fights, with train/CLASS/ and val/CLASS/ full of
videos; that of interactions also has unlabelled videos in negatives/.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from modist_det.analysis.study_report import paired_bootstrap
from modist_det.data import transforms as T
from modist_det.data.augmentation import (
    Augmentation,
    ResizedCrop,
    Sometimes,
    View,
    blur,
    color_jitter,
    flip,
    grayscale,
)
from modist_det.evaluation.linear_probe import fit_linear_probe, linear_probe_accuracy
from modist_det.evaluation.neighbours import knn_accuracy
from modist_det.modeling.backbone import ResNet3D
from modist_det.modeling.heads.projection import mlp
from modist_det.modeling.losses.nt_xent import nt_xent
from modist_det.modeling.methods.motion_regression import motion_pyramid
from modist_det.motion.build import build_motion_reader
from modist_det.motion.reader import resize_maps
from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.errors import UserError
from modist_det.utils.files import atomic_path, write_json
from modist_det.utils.json_reading import read_json
from modist_det.video.listing import VIDEO_EXTENSIONS
from modist_det.video.reader import open_video
from modist_det.video.sampling import draw_clips, uniform_view_start

EXAMPLE = """\
  python docs/study/real_clips.py cache DATA --cache CACHE
  python docs/study/real_clips.py run regression --seed 0 --cache CACHE --out RESULTS
  python docs/study/real_clips.py report --out RESULTS"""

NEIGHBOURS = {"interactions": 5, "gestures": 20, "fights": 20}  # by set
CACHED_SIDE, SIZE, TEST_SIDE = 72, 48, 56  # pixels
FRAMES, GAP = 8, 4 / 30  # of a clip, and seconds between them
STEPS, WARMUP, LEARNING_RATE, WEIGHT_DECAY = 480, 40, 3e-3, 0.05
GRID = (4, 8, 8)
STILL = torch.zeros(1)  # flow edges where nothing moves


@dataclass(frozen=True)
class Attempt:
    """How a network is pretrained without labels.

    Attributes:
        learns: "contrast" (SimCLR, two clips of a video), "vector" or "places" (regression of the pyramid from the
            pooled features, or of the cells below each place of the last map), or "nothing".
        units: of the pyramid: deviations from the mean in standard deviations of the training data ("data"), or of the
            batch, one for all cells ("scalar") or each cell's own ("cell").
        videos: in a step.
    """

    learns: str
    units: str = ""
    videos: int = 32


ATTEMPTS = {
    "untrained": Attempt("nothing"),
    "rgb_only": Attempt("contrast"),
    "regression": Attempt("vector", "cell"),
    "regression_scalar": Attempt("vector", "scalar"),
    "regression_scalar_64": Attempt("vector", "scalar", 64),
    "regression_data_64": Attempt("vector", "data", 64),
    "dense_64": Attempt("places", "data", 64),
}
PYRAMID = "pyramid"


# ---- clips ------------------------------------------------------------------------------------


def write_cache(data: Path, cache: Path) -> None:
    """Decode all videos to frames and flow edges with a short side of 72 pixels, a file for each set and split."""
    cv2.setNumThreads(1)
    reader = build_motion_reader("edges", estimator="DIS", short_side=128)
    cache.mkdir(parents=True, exist_ok=True)
    for name, split in [(n, s) for n in NEIGHBOURS for s in ("train", "val")] + [
        ("interactions", "negatives")
    ]:
        folder, out = data / name / split, cache / f"{name}_{split}.pt"
        if out.exists():
            continue
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_EXTENSIONS)
        if not files:
            raise UserError(f"{folder} has no videos")
        classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
        clips = []
        for file in files:
            with open_video(file) as video:
                numbers = np.arange(video.info.num_frames)
                frames = video.frames_at_indices(numbers, short_side=CACHED_SIDE)
                maps = resize_maps(torch.cat(list(reader.all_maps(video))), frames.shape[1:3])
                clips.append(
                    {
                        "file": str(file.relative_to(folder)),
                        "rate": float(video.info.rate),
                        "label": classes.index(file.parent.name) if classes else -1,
                        "video": torch.from_numpy(frames).permute(3, 0, 1, 2).contiguous(),
                        "motion": maps.permute(1, 0, 2, 3).contiguous(),
                    }
                )
        with atomic_path(out) as temporary:
            torch.save({"classes": classes, "clips": clips}, temporary)
        print(f"{out}: {len(clips)} clips")


def load(cache: Path, name: str) -> list[dict[str, Any]]:
    path = cache / f"{name}.pt"
    if not path.exists():
        raise UserError(f"there is no {path}; make it with {Path(__file__).name} cache")
    return torch.load(path, weights_only=True, mmap=True)["clips"]


def duration(clip: dict[str, Any]) -> float:
    return clip["video"].shape[1] / clip["rate"]


def read(clip: dict[str, Any], start: float, gap: float) -> tuple[Tensor, Tensor]:
    """Frames (3, T, H, W) and motion maps (1, T, H, W) from second ``start`` on, the last one repeated at the end."""
    times = start + np.arange(FRAMES) * gap
    numbers = np.round(times * clip["rate"] + 1e-9).astype(int).clip(0, clip["video"].shape[1] - 1)
    return clip["video"][:, numbers], clip["motion"][:, numbers]


def batches(
    pool: Sequence[dict[str, Any]], videos: int, views: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches: frames (B, views, 3, T, S, S) and motion maps (B, views, 1, T, S, S), augmented together."""
    rng = np.random.default_rng(seed)
    jitter = partial(color_jitter, ranges=(0.4, 0.4, 0.4, 0.0))
    steps = (Sometimes(0.5, flip), Sometimes(0.8, jitter), Sometimes(0.2, grayscale), Sometimes(0.5, blur))
    augment = Augmentation(ResizedCrop(SIZE, CACHED_SIDE, (0.3, 1.0), (0.5, 2.0)), steps)
    while True:
        drawn = []
        for number in rng.choice(len(pool), videos, replace=False):
            clip = pool[number]
            for start in draw_clips(duration(clip), FRAMES * GAP, (0.5, 10.0), views, rng):
                frames, maps = read(clip, start, GAP)
                drawn.append(augment(View(frames, maps=maps, motion_kind="edges"), rng))
        frames = torch.stack([view.clip for view in drawn])
        maps = torch.stack([view.maps for view in drawn if view.maps is not None])
        yield frames.unflatten(0, (-1, views)), maps.unflatten(0, (-1, views))


# ---- training ---------------------------------------------------------------------------------


class Network(nn.Module):
    """A small ResNet and what learns with it. Parts are made in the order of the recorded runs, used or not."""

    def __init__(self, attempt: Attempt, seed: int) -> None:
        super().__init__()
        self.attempt = attempt
        torch.manual_seed(seed)
        self.backbone = ResNet3D(
            depth=18, width=16, stem_kernel=(3, 5, 5), stem_stride=(2, 2, 2), temporal_kernels=(3, 3, 3, 3)
        )
        channels = self.backbone.out_channels[0]
        self.projection = mlp(channels, 256, 64, "BN")
        if attempt.learns == "vector":
            self.head: nn.Module = mlp(channels, 256, math.prod(GRID), "BN")
        if attempt.learns == "places":
            self.head = nn.Conv3d(channels, 4 * 4, 1)
        self.mean = self.std = torch.zeros(())

    def features(self, frames: Tensor) -> Tensor:
        """uint8 (B, 3, T, H, W) -> the last map."""
        return self.backbone((frames.float() / 255 - 0.45) / 0.225)[0]

    def measure(self, maps: Tensor) -> None:
        """Set the units of "data" by motion maps of the training data."""
        cells = motion_pyramid(maps, GRID, STILL)
        if self.attempt.learns == "vector":
            self.mean, self.std = cells.mean(0), cells.std(0) + 1e-4
        else:
            self.mean, self.std = cells.mean(), cells.std()

    def forward(self, frames: Tensor, maps: Tensor) -> tuple[Tensor, float]:
        """The loss, and how much is learned: the share of positives found, or of the variance explained."""
        features = self.features(frames.flatten(0, 1))
        pooled = features.mean((2, 3, 4))
        if self.attempt.learns == "contrast":
            z = F.normalize(self.projection(pooled), dim=1).view(*frames.shape[:2], -1)
            result = nt_xent(z[:, 0], z[:, 1], 0.1)
            return result.loss, result.accuracy.item()
        cells = motion_pyramid(maps.flatten(0, 1), GRID, STILL)
        if self.attempt.units == "data":
            wanted = (cells.view(-1, *GRID) if self.attempt.learns == "places" else cells) - self.mean
            wanted = wanted / self.std
        else:
            variance = cells.var(0, unbiased=False)
            variance = variance.mean() if self.attempt.units == "scalar" else variance.clamp(min=1e-5)
            wanted = (cells - cells.mean(0)) / variance.sqrt()
        if self.attempt.learns == "places":
            found = self.head(features).unflatten(1, (4, 4)).permute(0, 3, 4, 1, 5, 2).reshape(-1, *GRID)
        else:
            found = self.head(pooled)
        loss = (found - wanted).square().mean()
        return loss, 1 - loss.item()


def train(attempt: Attempt, seed: int, pool: Sequence[dict[str, Any]]) -> Network:
    network = Network(attempt, seed)
    draw = batches(pool, attempt.videos, 2 if attempt.learns == "contrast" else 1, seed)
    network.measure(torch.cat([next(draw)[1].flatten(0, 1) for _ in range(12)]))
    network.train()
    if attempt.learns == "nothing":
        with torch.no_grad():
            for _ in range(20):  # BN statistics of the data
                network.features(next(draw)[0].flatten(0, 1))
        return network.eval()
    weights = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    )
    learned = []
    for step in range(1, STEPS + 1):
        factor = min(1, step / WARMUP) * 0.5 * (1 + math.cos(math.pi * (step - 1) / STEPS))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * factor
        loss, share = network(*next(draw))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learned.append(share)
        if step % 60 == 0:
            print(f"step {step}: {np.mean(learned[-60:]):.3f} found or explained", flush=True)
    return network.eval()


# ---- evaluation -------------------------------------------------------------------------------


def moments(maps: Tensor) -> dict[str, Tensor]:
    """Features (B, D) of a map (B, C, T, H, W): the mean, and with deviation and skewness over time or over both."""
    mean = maps.mean((2, 3, 4))
    found = {"mean": mean}
    by_time = maps.mean((3, 4))
    for name, values, axes in (("over time", by_time, (2,)), ("over both", maps, (2, 3, 4))):
        away = values - values.mean(axes, keepdim=True)
        std = away.square().mean(axes).sqrt()
        found[name] = torch.cat([mean, std, (away**3).mean(axes) / (std**3 + 1e-4)], 1)
    return found


Features = Callable[[Tensor, Tensor], dict[str, Tensor]]


@torch.no_grad()
def extract(
    features: Features, clips: Sequence[dict[str, Any]], views: int, gap: float
) -> dict[str, np.ndarray]:
    """Features (N, D), averaged over test views: spread over the clip, the centre crop."""
    rows = []
    for clip in clips:
        height, width = clip["video"].shape[-2:]
        scale = TEST_SIDE / min(height, width)
        height, width = max(TEST_SIDE, round(height * scale)), max(TEST_SIDE, round(width * scale))
        top, left = (height - SIZE + 1) // 2, (width - SIZE + 1) // 2
        for view in range(views):
            start = uniform_view_start(duration(clip), FRAMES * gap, view, views)
            both = [T.resize(part, height, width) for part in read(clip, start, gap)]
            rows.append([part[..., top : top + SIZE, left : left + SIZE] for part in both])
    found: dict[str, list[Tensor]] = {}
    for first in range(0, len(rows), 16 * views):
        frames, maps = (torch.stack(part) for part in zip(*rows[first : first + 16 * views], strict=True))
        for name, values in features(frames, maps).items():
            found.setdefault(name, []).append(values.unflatten(0, (-1, views)).mean(1))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def judge(features: Features, cache: Path, views: int, gap: float) -> dict[str, dict[str, dict[str, Any]]]:
    """Set -> pooling -> accuracy of nearest neighbours and a linear classifier, and which test clips the latter gets
    right; on interactions also the linear accuracy within the training clips, in five folds.
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for name, neighbours in NEIGHBOURS.items():
        sides = [load(cache, f"{name}_{split}") for split in ("train", "val")]
        known, asked = (np.array([clip["label"] for clip in side]) for side in sides)
        gallery, queries = (extract(features, side, views, gap) for side in sides)
        for pooling in gallery:
            a, b = gallery[pooling], queries[pooling]
            right = fit_linear_probe(a, known, known.max() + 1)(b).argmax(1) == asked
            found = {"linear": float(right.mean()), "knn": knn_accuracy(a, known, b, asked, neighbours)}
            if name == "interactions":
                order = np.argsort(known, kind="stable")
                folds = [(np.setdiff1d(order, order[i::5]), order[i::5]) for i in range(5)]
                found["cv"] = float(
                    np.mean([linear_probe_accuracy(a[i], known[i], a[j], known[j]) for i, j in folds])
                )
            results.setdefault(name, {})[pooling] = {**found, "right": right.astype(int).tolist()}
    return results


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    started = time.process_time()
    if args.attempt == PYRAMID:
        grid = tuple(args.grid)

        def features(frames: Tensor, maps: Tensor) -> dict[str, Tensor]:
            return {"mean": motion_pyramid(maps, grid, STILL)}
    else:
        names = [f"{name}_train" for name in NEIGHBOURS] + ["interactions_negatives"]
        pool = [clip for name in names for clip in load(args.cache, name)]
        network = train(ATTEMPTS[args.attempt], args.seed, pool)

        def features(frames: Tensor, maps: Tensor) -> dict[str, Tensor]:
            return moments(network.features(frames))

    results = judge(features, args.cache, args.views, args.gap)
    for name, poolings in results.items():
        for pooling, found in poolings.items():
            print(name, pooling, {key: round(value, 3) for key, value in found.items() if key != "right"})
    if args.out:
        content = {"cpu_seconds": time.process_time() - started, "results": results}
        args.out.mkdir(parents=True, exist_ok=True)
        write_json(args.out / f"{args.attempt}_{args.seed}.json", content)


# ---- tables -----------------------------------------------------------------------------------


def report(args: argparse.Namespace) -> None:
    """Print the tables of docs/STUDY.md of the results in ``args.out``."""
    rows: dict[str, list[Any]] = {}
    for path in sorted(args.out.glob("*.json")):
        rows.setdefault(path.stem.rpartition("_")[0], []).append(read_json(path))
    columns = [("interactions", "linear"), ("interactions", "cv"), ("interactions", "knn")]
    columns += [(name, metric) for name in ("gestures", "fights") for metric in ("linear", "knn")]
    print("| | seeds | " + " | ".join(" ".join(column) for column in columns) + " | CPU s |")
    print("|---" * (len(columns) + 3) + "|")
    for row, seeds in rows.items():
        cells = []
        for name, metric in columns:
            values = [seed["results"][name]["mean"][metric] for seed in seeds]
            cells.append(f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        cpu = np.mean([seed["cpu_seconds"] for seed in seeds])
        print(f"| {row} | {len(seeds)} | {' | '.join(cells)} | {cpu:.0f} |")
    for other in rows if args.minus_from in rows else ():
        cells = []
        for name in NEIGHBOURS:
            sides = (
                [seed["results"][name]["mean"]["right"] for seed in rows[row]]
                for row in (args.minus_from, other)
            )
            cells.append("{:+.3f} ({:+.3f} to {:+.3f})".format(*paired_bootstrap(*sides)))
        print(f"{args.minus_from} minus {other}: {', '.join(cells)}")


def main(args: argparse.Namespace) -> None:
    if args.command == "cache":
        write_cache(args.data, args.cache)
    else:
        {"run": run, "report": report}[args.command](args)


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    cache = commands.add_parser("cache", help="decode all videos once")
    cache.add_argument("data", type=Path, metavar="DATA")
    one = commands.add_parser("run", help="train and evaluate one attempt")
    one.add_argument("attempt", choices=[PYRAMID, *ATTEMPTS])
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--views", type=int, default=2, help="test views of a clip (default: %(default)s)")
    one.add_argument("--gap", type=float, default=GAP, help="seconds between the frames of test views")
    one.add_argument(
        "--grid", type=int, nargs=3, default=GRID, help="cells of the pyramid in time, height, width"
    )
    tables = commands.add_parser("report", help="print the tables of the results")
    tables.add_argument(
        "--minus-from", default="regression", metavar="ATTEMPT", help="what others are compared with"
    )
    for command in (cache, one):
        command.add_argument("--cache", type=Path, required=True, metavar="FOLDER")
    one.add_argument("--out", type=Path, metavar="FOLDER", help="folder of results")
    tables.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
