#!/usr/bin/env python3
"""Compare a person detector's boxes with ground truth: COCO's AP and AR, and recall at several score thresholds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.files import write_json

EXAMPLE = """\
  python tools/evaluate_person_boxes.py -g datasets/puppets/val.csv -d datasets/puppets/person_boxes_val.csv"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("-g", "--groundtruth", required=True, metavar="CSV", help="ground truth in AVA's format")
    add("-d", "--detections", required=True, metavar="CSV", help="person boxes in AVA's format")
    add("--json", type=Path, metavar="FILE", help="also write the metrics to this file")
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.evaluation.person_boxes import evaluate_person_boxes

    metrics = evaluate_person_boxes(args.groundtruth, args.detections)
    print(f"{metrics['persons']} people in {metrics['keyframes']} keyframes, {metrics['detections']} boxes")
    if metrics["ignored"]:
        print(f"{metrics['ignored']} boxes at keyframes without ground truth were ignored")
    for name in ("AP", "AP50", "AP75", "AR@1", "AR@10", "AR@100"):
        print(f"{name:7} {metrics[name]:.4f}")
    print("  min score  recall at IoU 0.5  boxes / keyframe")
    for row in metrics["recall"]:
        print(f"{row['min_score']:11.2f}  {row['recall']:17.4f}  {row['per_keyframe']:16.2f}")
    if args.json is not None:
        write_json(args.json, metrics)
        print(f"wrote {args.json}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
