#!/usr/bin/env python3
"""Compute AVA's frame-mAP@0.5 of a detections file: overall, by label type and for each class."""

from __future__ import annotations

import argparse
import sys

from modist_det.evaluation.ava import MAX_PER_KEYFRAME, MODES, class_table, evaluate_ava, match_ava, metrics
from modist_det.evaluation.bootstrap import ava_hits, interval_text, map_interval
from modist_det.evaluation.chance import with_random_scores
from modist_det.utils.cli import at_least, make_parser, run_cli
from modist_det.utils.errors import UserError
from modist_det.utils.files import write_json

EXAMPLE = """\
  python tools/evaluate_ava.py -l ava_action_list_v2.2_for_activitynet_2019.pbtxt \\
      -g ava_val_v2.2.csv -e ava_val_excluded_timestamps_v2.2.csv \\
      -d output/inference/ava_v2.2_val_detections.csv --json result.json"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("-l", "--labelmap", required=True, help="label map of the evaluated classes (pbtxt, AVA 2.1 or 2.2)")
    add("-g", "--groundtruth", required=True, help="csv: video,second[,x1,y1,x2,y2,action[,person]]")
    add("-d", "--detections", required=True, help="csv: video,second,x1,y1,x2,y2,action,score")
    add("-e", "--exclusions", help="csv of keyframes to exclude: video,second")
    add(
        "--mode",
        choices=MODES,
        default="official",
        help="the official metric (default), or PySlowFast's variant of it to compare with its published results",
    )
    add(
        "--max-detections",
        type=at_least(0),
        metavar="N",
        help="detections that count per keyframe, over all classes; 0: all, for crowded data other than AVA "
        f"(default: {MAX_PER_KEYFRAME}, which is part of the official metric)",
    )
    add(
        "--chance",
        action="store_true",
        help="also evaluate the same boxes with random scores five times: the chance level",
    )
    add(
        "--interval",
        action="store_true",
        help="print the 95 %% confidence interval of the mAP over videos (seconds more for millions of detections)",
    )
    add("--json", metavar="OUT", help="write the result to this file")
    add(
        "--plots",
        metavar="FOLDER",
        help="folder for plots of precision-recall curves, AP per class and score histograms",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    if args.max_detections is not None and args.mode != "official":
        raise UserError(f"--mode {args.mode} has no detection limit; remove --max-detections")
    limit = MAX_PER_KEYFRAME if args.max_detections is None else args.max_detections
    settings = (args.labelmap, args.exclusions, args.mode, limit)
    matched = match_ava(args.groundtruth, args.detections, *settings)
    result = metrics(matched)
    print(class_table(result))
    if args.interval:
        interval = map_interval(ava_hits(matched))
        print(interval_text(interval))
        if interval is not None:
            result["interval"] = {name: interval[name] for name in ("low", "high", "level")}
    if args.chance:
        random = with_random_scores(matched.detected)
        # There is no mAP if no class has ground truth.
        result["chance"] = [evaluate_ava(matched.truth, table, *settings)["mAP"] or 0.0 for table in random]
        drawn = [f"{value:.4f}" for value in result["chance"]]
        print(
            f"chance, the same boxes with random scores: mAP {min(drawn)} to {max(drawn)} in {len(drawn)} draws"
        )
    for warning in result["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if args.json:
        write_json(args.json, result, allow_nan=False)
        print(f"wrote {args.json}")
    if args.plots:
        from modist_det.analysis.plots import write_plots  # matplotlib is slow to import

        print("wrote", *write_plots(matched, args.plots))


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
