#!/usr/bin/env python3
"""Draw the detections of an evaluation on keyframes of their videos, beside the ground truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import at_least, make_parser, number_from, run_cli

_EXAMPLE = """\
  python tools/draw_detections.py --data datasets/puppets/val.yaml \\
    --detections output/quickstart/inference/puppets_val_detections.csv --out detections.png"""


def parser() -> argparse.ArgumentParser:
    made = make_parser(
        "Draw detections (orange) and ground truth (green) on keyframes, on one sheet.", _EXAMPLE
    )
    made.add_argument(
        "--data", required=True, metavar="NAME", help="dataset: catalogue name or description file"
    )
    made.add_argument(
        "--detections",
        required=True,
        metavar="CSV_OR_RUN",
        help="detections in AVA's format, or the run's folder",
    )
    made.add_argument("--out", required=True, type=Path, metavar="PNG", help="image to write")
    made.add_argument(
        "--keyframes", type=at_least(1), default=12, help="number of evenly spaced keyframes (default: 12)"
    )
    made.add_argument("--top", type=at_least(0), default=2, help="actions labelled per person (default: 2)")
    made.add_argument(
        "--min-score",
        type=number_from(0, 1),
        default=0.2,
        help="minimum score of labelled actions (default: 0.2)",
    )
    return made


def main(args: argparse.Namespace) -> None:
    from modist_det.analysis.detection_sheets import draw_detection_sheet

    draw_detection_sheet(
        args.data, args.detections, args.out, keyframes=args.keyframes, top=args.top, min_score=args.min_score
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
