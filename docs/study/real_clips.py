#!/usr/bin/env python3
"""The study on real clips of docs/STUDY.md: pretraining without labels, then frozen features and fine-tuning.

Clips are decoded once, to a cache in memory-mapped files; training reads that cache, with the project's methods,
configs, sampling, augmentation and metrics. DATA has a folder for each of interactions, gestures and fights, with
train/CLASS/ and val/CLASS/ full of videos; that of interactions also has unlabelled videos in negatives/. Attempts are
the rows of docs/study/real_clips.yaml. Tools for any data: tools/study.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from modist_det.analysis.study import Recipe
from modist_det.analysis.study_report import paired_bootstrap, spread
from modist_det.core import CfgNode
from modist_det.data import transforms as T
from modist_det.data.augmentation import Sometimes, View, blur, train_augmentation
from modist_det.engine.precision import autocast_factory
from modist_det.evaluation.linear_probe import fit_linear_probe, linear_probe_accuracy
from modist_det.evaluation.neighbours import knn_accuracy
from modist_det.modeling import build_model
from modist_det.modeling.methods.base import PretrainingMethod
from modist_det.modeling.methods.motion_regression import motion_pyramid
from modist_det.modeling.registry import META_ARCH_REGISTRY
from modist_det.motion.build import build_motion_reader
from modist_det.motion.reader import resize_maps
from modist_det.solver.build import build_optimizer
from modist_det.solver.schedule import build_lr_schedule
from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.errors import UserError
from modist_det.utils.files import atomic_path, write_json
from modist_det.utils.json_reading import read_json
from modist_det.utils.yaml_reading import read_yaml
from modist_det.video.listing import VIDEO_EXTENSIONS
from modist_det.video.reader import open_video
from modist_det.video.sampling import draw_clips, uniform_view_start

EXAMPLE = """\
  python docs/study/real_clips.py cache DATA --cache CACHE
  python docs/study/real_clips.py run regression --seed 0 --cache CACHE --out RESULTS
  python docs/study/real_clips.py tune regression --seed 0 --share 0.1 --cache CACHE --out RESULTS
  python docs/study/real_clips.py report --out RESULTS"""

NEIGHBOURS = {"interactions": 5, "gestures": 20, "fights": 20}  # by set
CACHED_SIDE, GRID, STILL = 96, (4, 8, 8), torch.zeros(1)
PYRAMID, SUPERVISED = "pyramid", "interactions"
ATTEMPTS = Path(__file__).with_suffix(".yaml")


# ---- clips ------------------------------------------------------------------------------------


def write_cache(data: Path, cache: Path, limit: float) -> None:
    """Decode all videos to frames and flow edges with a short side of 96 pixels, a file for each set and split."""
    cv2.setNumThreads(1)
    reader = build_motion_reader("edges", estimator="DIS", short_side=128, reference_side=256, limit=limit)
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


def read(cfg: CfgNode, clip: Mapping[str, Any], start: float) -> tuple[Tensor, Tensor]:
    """Frames (3, T, H, W) and motion maps (1, T, H, W) from second ``start`` on, the last one repeated at the end."""
    times = start + np.arange(cfg.INPUT.NUM_FRAMES) * cfg.INPUT.SAMPLING_RATE / cfg.INPUT.TARGET_FPS
    numbers = np.round(times * clip["rate"] + 1e-9).astype(int).clip(0, clip["video"].shape[1] - 1)
    return clip["video"][:, numbers], clip["motion"][:, numbers]


def span(cfg: CfgNode) -> float:
    return cfg.INPUT.NUM_FRAMES * cfg.INPUT.SAMPLING_RATE / cfg.INPUT.TARGET_FPS


def batches(
    cfg: CfgNode, pool: Sequence[Mapping[str, Any]], views: int, seed: int
) -> Iterator[dict[str, Tensor]]:
    """Endless batches of different videos, as the project's loader makes them: see :class:`PretrainingMethod`."""
    rng = np.random.default_rng(seed)
    augment = train_augmentation(cfg, Sometimes(cfg.INPUT.BLUR_PROB, blur), resized_crop=True)
    while True:
        drawn = []
        numbers = rng.choice(len(pool), min(cfg.SOLVER.IMS_PER_BATCH, len(pool)), replace=False)
        for number in numbers:
            clip = pool[number]
            for start in draw_clips(duration(clip), span(cfg), tuple(cfg.INPUT.CLIP_SHIFT), views, rng):
                frames, maps = read(cfg, clip, start)
                drawn.append(augment(View(frames, maps=maps, motion_kind="edges"), rng))
        parts = {
            "video": torch.stack([view.clip for view in drawn]),
            "motion": torch.stack([view.maps for view in drawn if view.maps is not None]),
        }
        yield {name: part.unflatten(0, (-1, views)) for name, part in parts.items()} | {
            "video_number": torch.from_numpy(numbers),
            "labels": torch.tensor([pool[number]["label"] for number in numbers]),
        }


# ---- training ---------------------------------------------------------------------------------


def attempt(name: str, changes: Sequence[Sequence[str]]) -> tuple[CfgNode, type[PretrainingMethod]]:
    """Config, with ``changes`` (pairs of key and value), and method of a row of docs/study/real_clips.yaml."""
    rows = read_yaml(ATTEMPTS, "the attempts")
    if name not in rows:
        raise UserError(f"{ATTEMPTS} has no {name}; it has {', '.join(rows)}")
    cfg = Recipe(rows[name]["cfg"], {**rows[name]["options"], **dict(changes)}).config(MODEL__DEVICE="cpu")
    method = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    cfg.defrost()
    method.complete_config(cfg, STILL.tolist())
    return cfg, method


def train(cfg: CfgNode, model: torch.nn.Module, draw: Iterator[dict[str, Tensor]]) -> None:
    """SOLVER.MAX_EPOCH steps; with BASE_LR 0 only the BN statistics of the data."""
    optimizer, schedule = build_optimizer(cfg, model), build_lr_schedule(cfg)
    autocast = autocast_factory(cfg, torch.device("cpu"))
    steps = round(cfg.SOLVER.MAX_EPOCH)
    logged: list[dict[str, float]] = []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step / steps)
        if isinstance(model, PretrainingMethod):
            model.set_progress(step / steps)
        with autocast():
            numbers = model(next(draw))
        optimizer.zero_grad()
        sum(value for name, value in numbers.items() if name.startswith("loss")).backward()
        optimizer.step()
        logged.append({name: value.item() for name, value in numbers.items()})
        if (step + 1) % 120 == 0 or step + 1 == steps:
            last = {name: round(float(np.mean([row[name] for row in logged[-120:]])), 3) for name in numbers}
            print(f"step {step + 1}, {time.process_time():.0f} s:", last, flush=True)
    model.eval()


# ---- evaluation -------------------------------------------------------------------------------

Outputs = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def extract(
    cfg: CfgNode, outputs: Outputs, clips: Sequence[Mapping[str, Any]], views: int
) -> NDArray[np.float32]:
    """``outputs`` (N, D) of test views (N, V, C, T, S, S): spread over the clip, the centre crop."""
    size, side = cfg.INPUT.CROP_SIZE, cfg.INPUT.MIN_SIZE_TEST
    found = []
    for clip in clips:
        height, width = clip["video"].shape[-2:]
        scale = side / min(height, width)
        height, width = max(side, round(height * scale)), max(side, round(width * scale))
        top, left = (height - size + 1) // 2, (width - size + 1) // 2
        both: tuple[list[Tensor], list[Tensor]] = ([], [])
        for view in range(views):
            start = uniform_view_start(duration(clip), span(cfg), view, views)
            for part, values in zip(both, read(cfg, clip, start), strict=True):
                part.append(T.resize(values, height, width)[..., top : top + size, left : left + size])
        found.append(outputs(*(torch.stack(part)[None] for part in both)).float())
    return torch.cat(found).numpy()


def labels_of(clips: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    return np.array([clip["label"] for clip in clips])


def folds(name: str, clips: Sequence[Mapping[str, Any]]) -> list[NDArray[np.int64]]:
    """Held-out parts of the training clips: of gestures one person each (S01_...), of others every fifth clip."""
    if name == "gestures":
        people = np.array([Path(clip["file"]).name.split("_")[0] for clip in clips])
        return [np.flatnonzero(people == person) for person in np.unique(people)]
    order = np.argsort(labels_of(clips), kind="stable")
    return [order[first::5] for first in range(5)]


def judge(cfg: CfgNode, outputs: Outputs, cache: Path, views: int) -> dict[str, dict[str, Any]]:
    """By set: accuracy of nearest neighbours and of a linear classifier on the test clips, which of them the latter
    gets right, and its accuracy within the training clips (``cv``).
    """
    results = {}
    for name, neighbours in NEIGHBOURS.items():
        sides = [load(cache, f"{name}_{split}") for split in ("train", "val")]
        known, asked = (labels_of(side) for side in sides)
        a, b = (extract(cfg, outputs, side, views) for side in sides)
        right = fit_linear_probe(a, known, known.max() + 1)(b).argmax(1) == asked
        hits = 0.0
        for held_out in folds(name, sides[0]):
            others = np.setdiff1d(np.arange(len(known)), held_out)
            hits += len(held_out) * linear_probe_accuracy(
                a[others], known[others], a[held_out], known[held_out]
            )
        results[name] = {
            "linear": float(right.mean()),
            "knn": knn_accuracy(a, known, b, asked, neighbours),
            "cv": hits / len(known),
            "right": right.astype(int).tolist(),
        }
        print(name, {key: round(value, 3) for key, value in results[name].items() if key != "right"})
    return results


def run(args: argparse.Namespace) -> None:
    """Pretrain without labels on all training clips and judge the frozen features."""
    cfg, method = attempt("regression" if args.attempt == PYRAMID else args.attempt, args.set)
    views = cfg.TEST.NUM_ENSEMBLE_VIEWS
    content: dict[str, Any] = {}
    if args.attempt == PYRAMID:

        def outputs(frames: Tensor, maps: Tensor) -> Tensor:
            return motion_pyramid(maps[0], tuple(args.grid), STILL).mean(0, keepdim=True)
    else:
        names = [f"{name}_train" for name in NEIGHBOURS] + ["interactions_negatives"]
        pool = [clip for name in names for clip in load(args.cache, name)]
        torch.manual_seed(args.seed)
        model = build_model(cfg)
        train(cfg, model, batches(cfg, pool, method.views(cfg).clips, args.seed))
        autocast = autocast_factory(cfg, torch.device("cpu"))
        content["training_seconds"] = time.process_time()
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            torch.save(model.pretrained_backbone.state_dict(), weights_of(args))

        def outputs(frames: Tensor, maps: Tensor) -> Tensor:
            with autocast():
                return torch.stack([row["features"] for row in model({"video": frames})])

    content["results"] = judge(cfg, outputs, args.cache, views)
    save(args, args.attempt, content)


def tune(args: argparse.Namespace) -> None:
    """Fine-tune with the labels of a share of each class, at least one clip, on interactions."""
    pretraining, _ = attempt(args.attempt, args.set)
    rows = read_yaml(ATTEMPTS, "the attempts")
    cfg = Recipe(rows["fine-tuning"]["cfg"], rows["fine-tuning"]["options"]).config(MODEL__DEVICE="cpu")
    cfg.defrost()
    for key in ("NUM_FRAMES", "SAMPLING_RATE", "CROP_SIZE", "MIN_SIZE_TEST", "MIN_SIZE_TRAIN"):
        cfg.INPUT[key] = pretraining.INPUT[key]
    known, asked = (load(args.cache, f"{SUPERVISED}_{split}") for split in ("train", "val"))
    cfg.MODEL.NUM_CLASSES = int(labels_of(known).max()) + 1
    rng = np.random.default_rng(args.seed)
    chosen = []
    for label in range(cfg.MODEL.NUM_CLASSES):
        members = rng.permutation(np.flatnonzero(labels_of(known) == label))
        chosen += members[: max(1, round(args.share * len(members)))].tolist()
    torch.manual_seed(args.seed)
    model = build_model(cfg)
    model.backbone.load_state_dict(torch.load(weights_of(args), weights_only=True))
    drawn = batches(cfg, [known[number] for number in chosen], 1, args.seed)
    train(cfg, model, ({**batch, "video": batch["video"][:, 0]} for batch in drawn))

    def outputs(frames: Tensor, maps: Tensor) -> Tensor:
        return torch.stack([row["scores"] for row in model({"video": frames})])

    scores = extract(cfg, outputs, asked, pretraining.TEST.NUM_ENSEMBLE_VIEWS)
    right = scores.argmax(1) == labels_of(asked)
    print(f"{args.attempt}, {args.share:.0%} of the labels: {right.mean():.3f}")
    name = f"fine-tuning {args.share:g} {args.attempt}"
    save(
        args,
        name,
        {"results": {SUPERVISED: {"linear": float(right.mean()), "right": right.astype(int).tolist()}}},
    )


def weights_of(args: argparse.Namespace) -> Path:
    return args.out / f"{args.attempt}_{args.seed}.pth"


def save(args: argparse.Namespace, name: str, content: Mapping[str, Any]) -> None:
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_json(args.out / f"{name}_{args.seed}.json", {"cpu_seconds": time.process_time(), **content})


# ---- tables -----------------------------------------------------------------------------------


def report(args: argparse.Namespace) -> None:
    """Print the tables of docs/STUDY.md of the results in ``args.out``."""
    rows: dict[str, list[Any]] = {}
    for path in sorted(args.out.glob("*.json")):
        rows.setdefault(path.stem.rpartition("_")[0], []).append(read_json(path))
    columns = [(name, metric) for name in NEIGHBOURS for metric in ("linear", "knn", "cv")]
    print("| | seeds | " + " | ".join(" ".join(column) for column in columns) + " | CPU s |")
    print("|---" * (len(columns) + 3) + "|")
    for row, seeds in rows.items():
        found = [
            [seed["results"][name][metric] for seed in seeds if metric in seed["results"].get(name, {})]
            for name, metric in columns
        ]
        cells = " | ".join(map(spread, found))
        print(f"| {row} | {len(seeds)} | {cells} | {np.mean([seed['cpu_seconds'] for seed in seeds]):.0f} |")
    for first, second in args.minus:
        if missing := {first, second} - rows.keys():
            raise UserError(f"{args.out} has no results of {', '.join(missing)}; it has {', '.join(rows)}")
        for name in NEIGHBOURS:
            sides = [
                [seed["results"][name]["right"] for seed in rows[row] if name in seed["results"]]
                for row in (first, second)
            ]
            if all(sides):
                difference = "{:+.3f} ({:+.3f} to {:+.3f})".format(*paired_bootstrap(*sides))
                print(f"{first} minus {second}, {name}: {difference}")


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if args.command == "cache":
        write_cache(args.data, args.cache, args.limit)
    else:
        {"run": run, "tune": tune, "report": report}[args.command](args)


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    cache = commands.add_parser("cache", help="decode all videos once")
    cache.add_argument("data", type=Path, metavar="DATA")
    cache.add_argument("--limit", type=float, default=2.5, help="MOTION.LIMIT (default: %(default)s)")
    one = commands.add_parser("run", help="pretrain and judge one attempt")
    one.add_argument(
        "attempt", metavar="ATTEMPT", help=f"{PYRAMID}, which learns nothing, or a row of {ATTEMPTS.name}"
    )
    one.add_argument(
        "--grid", type=int, nargs=3, default=GRID, help="cells of the pyramid in time, height, width"
    )
    labelled = commands.add_parser("tune", help=f"fine-tune what run learned on {SUPERVISED}")
    labelled.add_argument("attempt", metavar="ATTEMPT")
    labelled.add_argument("--share", type=float, default=1.0, help="of the labels (default: %(default)s)")
    for command in (one, labelled):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--set",
            nargs=2,
            action="append",
            default=[],
            metavar=("KEY", "VALUE"),
            help="change the pretraining's config",
        )
    tables = commands.add_parser("report", help="print the tables of the results")
    tables.add_argument(
        "--minus",
        nargs=2,
        action="append",
        default=[],
        metavar="ROW",
        help="two rows whose difference counts",
    )
    for command in (cache, one, labelled):
        command.add_argument("--cache", type=Path, required=True, metavar="FOLDER")
    one.add_argument("--out", type=Path, metavar="FOLDER", help="folder of results")
    for command in (labelled, tables):
        command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
