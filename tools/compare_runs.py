#!/usr/bin/env python3
"""Compare result files on one ground truth: difference of mAP, confidence interval and significance, also per class."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import at_least, make_parser, number_from, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/compare_runs.py a/inference/puppets_val_detections.csv b/inference/puppets_val_detections.csv \\
      -g datasets/puppets/val.csv -l datasets/puppets/label_map.pbtxt --max-detections 0
  python tools/compare_runs.py a.json b.json -g truth.json --protocol act --threshold 0.5"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add(
        "results",
        nargs="+",
        metavar="FILE",
        help="detections; the first file is compared with each other one",
    )
    add("-g", "--groundtruth", required=True, metavar="FILE", help="AVA's csv, or tubes (docs/METRICS.md)")
    add("-l", "--labelmap", metavar="PBTXT", help="for files in AVA's format")
    add("-e", "--exclusions", metavar="CSV", help="excluded keyframes, in AVA's format")
    add(
        "--max-detections",
        type=at_least(0),
        default=50,
        metavar="N",
        help="of AVA's metric (default: %(default)s)",
    )
    add("--protocol", default="recommended", help="of other files (default: %(default)s)")
    add(
        "--threshold",
        type=number_from(0, 1, above=True),
        default=0.5,
        help="overlap of tubes or IoU of boxes of other files (default: %(default)s)",
    )
    add("--frames", action="store_true", help="frame mAP instead of video mAP of other files")
    add("--resamples", type=at_least(100), default=1000, metavar="N", help="(default: %(default)s)")
    add("--seed", type=at_least(0), default=0, help="(default: %(default)s)")
    add("--json", metavar="OUT", help="write the result to this file")
    add(
        "--html", type=Path, metavar="OUT", help="write the tables as a web page, beside the results' reports"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.analysis.compare_runs import (
        compare_results,
        comparison_page,
        comparison_text,
        hits_of_ava_files,
        hits_of_tube_files,
    )
    from modist_det.utils.files import atomic_path, write_json

    if args.groundtruth.endswith(".csv"):
        if args.labelmap is None:
            raise UserError("files in AVA's format need their label map (-l)")
        hits = hits_of_ava_files(
            args.results,
            args.groundtruth,
            args.labelmap,
            args.exclusions,
            max_detections=args.max_detections,
        )
    else:
        hits = hits_of_tube_files(
            args.results, args.groundtruth, args.protocol, args.threshold, frames=args.frames
        )
    comparisons = compare_results(hits, args.resamples, args.seed)
    print(comparison_text(next(iter(hits)), comparisons))
    if args.json:
        write_json(args.json, comparisons)
        print(f"wrote {args.json}")
    if args.html:
        with atomic_path(args.html) as temporary:
            temporary.write_text(comparison_page(next(iter(hits)), comparisons), encoding="utf-8")
        print(f"wrote {args.html}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
