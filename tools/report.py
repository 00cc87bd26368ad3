#!/usr/bin/env python3
"""Write an HTML report of what a detector or classifier gets right and wrong on a test set.

The report is a single file that includes all images, clips and metrics.
"""

from __future__ import annotations

import argparse
import sys

from modist_det.evaluation.ava import MODES
from modist_det.utils.cli import at_least, make_parser, run_cli

EXAMPLE = """\
  python tools/report.py --data datasets/puppets/val.yaml \\
      --detections output/Puppets/Slow_R18/inference/puppets_val_detections.csv --out report.html
  python tools/report.py --data puppets_actions_test \\
      --detections output/Puppets/Classification_R18/inference/puppets_actions_test_predictions.csv \\
      --out report.html"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("--data", required=True, metavar="NAME", help="dataset: catalogue name or description file")
    add(
        "--detections",
        required=True,
        metavar="CSV_OR_RUN",
        help="detections in AVA's format, a classifier's predictions, or the run's folder, which has them",
    )
    add("--out", required=True, metavar="HTML", help="file to write")
    add("--mode", choices=MODES, default="official", help="mode of the metric (default: %(default)s)")
    add(
        "--max-detections",
        type=at_least(0),
        default=-1,
        metavar="N",
        help="detections that count per keyframe, over all classes; 0: all (default: 50 for AVA's classes, "
        "otherwise all)",
    )
    add(
        "--keyframes",
        type=at_least(1),
        default=90,
        metavar="N",
        help="largest number of keyframes shown with their image: the worst misses, the worst false positives and "
        "others, evenly spaced (default: %(default)s)",
    )
    add(
        "--clips",
        type=at_least(0),
        default=24,
        metavar="N",
        help="number of these, worst first, with a clip of two seconds (default: %(default)s)",
    )
    add(
        "--max-clip-mb",
        type=at_least(0),
        default=8,
        metavar="MB",
        help="limit of the total size of the clips (default: %(default)s)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.analysis.report import write_report

    write_report(
        args.data,
        args.detections,
        args.out,
        mode=args.mode,
        max_detections=args.max_detections,
        num_keyframes=args.keyframes,
        num_clips=args.clips,
        max_clip_bytes=args.max_clip_mb * 1_000_000,
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
