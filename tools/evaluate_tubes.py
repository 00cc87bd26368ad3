#!/usr/bin/env python3
"""Compare the JSON results of tools/demo.py on generated videos with what their people really do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python datasets/prepare_puppets.py --out fresh --seed 7 --train-videos 1 --val-videos 20
  python tools/demo.py fresh/videos/val_*.mp4 --no-video --out fresh_results
  python tools/evaluate_tubes.py --truth fresh/tracks_val.json --results fresh_results"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("--truth", required=True, metavar="JSON", help="tracks_<split>.json of prepare_puppets.py")
    add("--results", required=True, type=Path, metavar="FOLDER", help="with a JSON file for each video")
    add("--min-iou", type=float, default=0.5, help="(default: %(default)s)")
    add(
        "--min-score",
        type=float,
        default=0.0,
        help="tubes with a lower score are left out (default: %(default)s)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.inference import VideoActions
    from modist_det.inference.evaluate_tubes import evaluate_tubes, read_puppets_tracks, tubes_of_result

    truth = read_puppets_tracks(args.truth)
    found = {}
    for path in sorted(args.results.glob("*.json")):
        if path.stem in truth:
            tubes = tubes_of_result(VideoActions.from_json(path))
            found[path.stem] = [tube for tube in tubes if tube.score >= args.min_score]
    if not found:
        raise UserError(f"no JSON file in {args.results} has the name of a video of {args.truth}")
    figures = evaluate_tubes(truth, found, args.min_iou)
    print(f"{len(found)} videos, {figures['tubes']} action tubes, {figures['true_tubes']} true ones")
    print(
        f"tubes, IoU {args.min_iou:g}: precision {figures['tube_precision']:.3f}  recall {figures['tube_recall']:.3f}"
    )
    print(
        f"time:            precision {figures['time_precision']:.3f}  recall {figures['time_recall']:.3f}  "
        f"({figures['seconds']:.1f} s of person-actions said, {figures['true_seconds']:.1f} s true)"
    )


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
