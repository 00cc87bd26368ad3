#!/usr/bin/env python3
"""The study of docs/STUDY.md: RGB-only contrastive learning against MoDist on Puppets, from data to tables.

Every run goes through tools/run_net.py. A study that was stopped goes on where it was: finished runs are kept, others
resumed. Results come together in RESULTS.json and tables.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from modist_det.data.catalog import data_root
from modist_det.engine.metrics import read_metrics
from modist_det.utils.cli import at_least, make_parser, run_cli
from modist_det.utils.errors import UserError
from modist_det.utils.files import atomic_path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
EXAMPLE = """\
  python docs/study/study.py
  python docs/study/study.py --parts pretrain report --seeds 0"""

METHODS = {
    "untrained": "ablations/untrained",
    "RGB only": "ablations/rgb_only",
    "MoDist": "MoDist_R18",
}
ABLATIONS = {
    "MoDist": "MoDist_R18",
    "motion input: magnitude": "ablations/motion_magnitude",
    "motion input: frame difference": "ablations/motion_difference",
    "with motion-motion term": "ablations/motion_motion",
    "cross-modal weight 0.5": "ablations/cross_weight_0.5",
    "cross-modal weight 2": "ablations/cross_weight_2",
    "RGB and motion at the same time": "ablations/same_time",
    "RGB only": "ablations/rgb_only",
}
SHARES = (0.1, 1.0)
# With all labels; with fewer the same number of steps.
DETECTION_EPOCHS = 14.0
CLASSIFICATION_EPOCHS = 20.0
METRICS = ("linear", "knn", "R@1", "R@5", "rank")
TEST_SET = "puppets_actions_test"


@dataclass(frozen=True)
class Job:
    """A command that makes ``folder``, after the jobs of other folders."""

    folder: Path
    command: tuple[str, ...]
    after: tuple[Path, ...] = ()

    @property
    def mark(self) -> Path:
        """Written when the command has succeeded; holds its duration."""
        return self.folder / "done.json"


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    p.add_argument("--output", type=Path, default=Path("output/study"), help="default: %(default)s")
    p.add_argument(
        "--jobs",
        type=at_least(1),
        default=2,
        help="runs at a time, of one thread each (default: %(default)s)",
    )
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    p.add_argument("--ablation-seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    p.add_argument("--epochs", type=float, default=50.0, help="of pretraining (default: %(default)s)")
    p.add_argument("--ablation-epochs", type=float, default=25.0, help="default: %(default)s")
    parts = ("pretrain", "detect", "classify", "still", "ablate", "focus", "report")
    p.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all, in this order")
    return p


def main(args: argparse.Namespace) -> None:
    out = args.output
    jobs = list(data_jobs(out))
    if "pretrain" in args.parts:
        for seed in args.seeds:
            jobs += [pretraining(out, "pretrain", m, METHODS[m], seed, args.epochs) for m in METHODS]
    if "detect" in args.parts:
        for seed in args.seeds:
            jobs += [detection(out, method, share, seed) for share in SHARES for method in METHODS]
    if "classify" in args.parts:
        for seed in args.seeds:
            jobs += [classification(out, method, share, seed) for share in SHARES for method in METHODS]
    if "still" in args.parts:
        jobs += [one_frame(out, seed) for seed in args.seeds]
    if "ablate" in args.parts:
        for seed in args.ablation_seeds:
            jobs += [
                pretraining(out, "ablate", n, c, seed, args.ablation_epochs) for n, c in ABLATIONS.items()
            ]
    if "focus" in args.parts:
        jobs.append(focus(out, args.seeds))
    run_all(jobs, args.jobs)
    if "report" in args.parts:
        results = collect(out)
        with atomic_path(HERE / "RESULTS.json") as temporary:
            temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
        with atomic_path(HERE / "tables.md") as temporary:
            temporary.write_text(tables(results), encoding="utf-8")
        print(f"results: {HERE / 'RESULTS.json'}, {HERE / 'tables.md'}")


# ---- what is run ------------------------------------------------------------------------------


def data_jobs(out: Path) -> Iterable[Job]:
    python, videos = sys.executable, str(data_root() / "puppets_actions/videos")
    generate = (python, "datasets/prepare_puppets.py")
    for preset, name in (("actions", "puppets_actions"), ("scenes", "puppets")):
        yield Job(out / f"data/{preset}", (*generate, "--preset", preset, "--out", str(data_root() / name)))
    extract = (python, "tools/extract_motion.py", videos, "--short-side", "96")
    for kind in ("edges", "magnitude"):
        folder = out / f"motion/{kind}"
        yield Job(folder, (*extract, "--kind", kind, "--out", str(folder)), (out / "data/actions",))


def run_net(folder: Path, config: str, *overrides: object, after: Sequence[Path]) -> Job:
    command = (sys.executable, "tools/run_net.py", "--cfg", f"configs/Puppets/{config}.yaml", "--resume")
    common = (
        "OUTPUT_DIR",
        folder,
        "DATALOADER.NUM_WORKERS",
        0,
        "DATALOADER.FRAME_CACHE",
        folder.parents[2] / "frames",
    )
    return Job(folder, (*command, *map(str, (*common, *overrides))), tuple(after))


def pretraining(out: Path, part: str, name: str, config: str, seed: int, epochs: float) -> Job:
    overrides: list[object] = ["SEED", seed]
    after = [out / "data/actions"]
    if config != METHODS["untrained"]:
        overrides += ["SOLVER.MAX_EPOCH", epochs]
    if "difference" not in config:
        kind = "magnitude" if "magnitude" in config else "edges"
        overrides += ["MOTION.CACHE", out / f"motion/{kind}"]
        after.append(out / f"motion/{kind}")
    return run_net(run_folder(out, part, name, seed), config, *overrides, after=after)


def detection(out: Path, method: str, share: float, seed: int) -> Job:
    return fine_tuning(
        out, "detect", "scenes", "MoDist_R18_detection", method, share, seed, DETECTION_EPOCHS / share
    )


def classification(out: Path, method: str, share: float, seed: int) -> Job:
    return fine_tuning(
        out, "classify", "actions", "Classification_R18", method, share, seed, CLASSIFICATION_EPOCHS / share
    )


def fine_tuning(
    out: Path, part: str, data: str, config: str, method: str, share: float, seed: int, epochs: float
) -> Job:
    source = run_folder(out, "pretrain", method, seed)
    overrides: list[object] = ["SEED", seed, "DATASETS.TRAIN_SHARE", share, "DATASETS.TRAIN_SHARE_SEED", seed]
    overrides += ["SOLVER.MAX_EPOCH", epochs, "SOLVER.WARMUP_EPOCHS", 1 / share]
    overrides += ["SOLVER.CHECKPOINT_PERIOD", 0.0, "MODEL.WEIGHTS", f"{source}/checkpoints/LAST"]
    folder = run_folder(out, part, f"{method} {share:g}", seed)
    return run_net(folder, config, *overrides, after=[out / f"data/{data}", source])


def one_frame(out: Path, seed: int) -> Job:
    """Supervised training on single actions in which all frames of a clip are one; with clips it is "untrained 1"."""
    folder = run_folder(out, "still", "one frame", seed)
    overrides = ("SEED", seed, "INPUT.TARGET_FPS", 1e6)
    return run_net(folder, "Classification_R18", *overrides, after=[out / "data/actions"])


def focus(out: Path, seeds: Sequence[int]) -> Job:
    runs = [run_folder(out, "pretrain", method, seed) for method in METHODS for seed in seeds]
    named = [f"{m}={run_folder(out, 'pretrain', m, s)}" for m in METHODS for s in seeds]
    script = (
        sys.executable,
        "docs/study/focus.py",
        "--out",
        str(out / "focus/focus.json"),
        "--picture",
        str(HERE / "focus.png"),
    )
    return Job(out / "focus", (*script, *named), (out / "data/scenes", *runs))


def run_folder(out: Path, part: str, name: str, seed: int) -> Path:
    return out / part / name.replace(" ", "_").replace(":", "") / str(seed)


# ---- running ----------------------------------------------------------------------------------


def run_all(jobs: Sequence[Job], at_once: int) -> None:
    """Run what is not done yet, ``at_once`` commands at a time, each after those that it needs.

    Raises:
        UserError: a command failed; the others that were begun are finished first.
    """
    done: dict[Path, Future[None]] = {}

    def run(job: Job) -> None:
        for folder in job.after:
            if folder in done:
                done[folder].result()
        command = [
            last_checkpoint(word) if word.endswith("/checkpoints/LAST") else word for word in job.command
        ]
        if not job.mark.exists():
            execute(job, command)
        elif json.loads(job.mark.read_text(encoding="utf-8"))["command"][1:] != command[1:]:
            raise UserError(
                f"{job.folder} was made by another command ({job.mark}); delete it, or choose another --output"
            )

    # Jobs come in an order in which each is behind those that it waits for, so threads never wait for each other.
    with ThreadPoolExecutor(at_once) as pool:
        for job in jobs:
            done[job.folder] = pool.submit(run, job)
    for future in done.values():
        future.result()


def execute(job: Job, command: Sequence[str]) -> None:
    began = time.time()
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "study_log.txt"
    print(f"{time.strftime('%H:%M:%S')} {job.folder}", flush=True)
    with log.open("a", encoding="utf-8") as file:
        status = subprocess.run(
            command,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ).returncode
    if status:
        raise UserError(f"{' '.join(command)} ended with status {status}; see {log}")
    with atomic_path(job.mark) as temporary:
        temporary.write_text(
            json.dumps({"seconds": round(time.time() - began), "command": command}), encoding="utf-8"
        )


def last_checkpoint(word: str) -> str:
    folder = Path(word).parent
    return str(folder / (ROOT / folder / "last_checkpoint").read_text(encoding="utf-8").strip())


# ---- results ----------------------------------------------------------------------------------


def collect(out: Path) -> dict:
    """Metrics of every finished run: part -> name -> seed -> metrics."""
    results: dict = {}
    for mark in sorted(out.glob("*/*/*/done.json")):
        part, name, seed = mark.parent.relative_to(out).parts
        rows = read_metrics(mark.parent / "metrics.json")
        last = next((row for row in reversed(rows) if any("/" in key for key in row)), None)
        if last is None:
            raise UserError(
                f"{mark.parent} has no metrics of an evaluation; delete it and run the study again"
            )
        metrics = {key.partition("/")[2]: value for key, value in last.items() if "/" in key}
        metrics["seconds"] = json.loads(mark.read_text(encoding="utf-8"))["seconds"]
        losses = [row for row in rows if "loss" in row]
        metrics["steps"] = losses[-1]["iteration"]
        metrics["last_losses"] = {
            k: v for k, v in losses[-1].items() if k.startswith(("loss", "accuracy", "positive", "negative"))
        }
        results.setdefault(part, {}).setdefault(name, {})[seed] = metrics
    if (out / "focus/focus.json").exists():
        results["focus"] = json.loads((out / "focus/focus.json").read_text(encoding="utf-8"))
    return results


def tables(results: dict) -> str:
    """Means and spreads (smallest to largest) over seeds, in Markdown."""
    text = ["# Tables of the study", ""]
    for part, title in (("pretrain", "Features"), ("ablate", "Ablations")):
        if part in results:
            text += [
                f"### {title}",
                "",
                f"| | {' | '.join(METRICS)} | seeds |",
                "|---" * (len(METRICS) + 2) + "|",
            ]
            text += [row(name, seeds, METRICS) for name, seeds in results[part].items()] + [""]
    fine_tuned = (
        ("detect", "Detection", "initial weights, share of labels", "mAP"),
        ("classify", "Classification", "initial weights, share of labels", "top1"),
        ("still", "Classification of one frame, repeated", "", "top1"),
    )
    for part, title, first, metric in fine_tuned:
        if part in results:
            text += [f"### {title}", "", f"| {first} | {metric} | seeds |", "|---|---|---|"]
            text += [row(name, seeds, [metric]) for name, seeds in results[part].items()] + [""]
    if "focus" in results:
        kinds = {
            "gradient_share": "input gradient",
            "gradcam_share": "Grad-CAM",
            "area": "boxes' share of the area",
        }
        text += [
            "### Energy inside person boxes",
            "",
            f"| | {' | '.join(kinds.values())} |",
            "|---|---|---|---|",
        ]
        for name, seeds in results["focus"].items():
            text.append(f"| {name} | {' | '.join(spread([s[kind] for s in seeds]) for kind in kinds)} |")
    return "\n".join(text) + "\n"


def row(name: str, seeds: dict, metrics: Sequence[str]) -> str:
    cells = [spread([metric[key] for metric in seeds.values() if key in metric]) for key in metrics]
    return f"| {name.replace('_', ' ')} | {' | '.join(cells)} | {len(seeds)} |"


def spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
