#!/usr/bin/env python3
"""Evaluate tubes and frame detections by frame mAP and video mAP in any protocol; also results of tools/demo.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, number_from, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python datasets/prepare_puppets.py --out fresh --seed 7 --train-videos 1 --val-videos 20
  python tools/demo.py fresh/videos/val_*.mp4 --no-video --out fresh_results
  python tools/evaluate_tubes.py --truth fresh/tracks_val.json --results fresh_results
  python tools/evaluate_tubes.py --truth truth.json --results found.json --protocol act --errors 0.5"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add(
        "--truth",
        required=True,
        metavar="FILE",
        help="JSON or pickle of ground-truth tubes (docs/METRICS.md), or tracks_<split>.json of prepare_puppets.py",
    )
    add(
        "--results",
        required=True,
        type=Path,
        metavar="PATH",
        help="JSON or pickle of tubes or frame detections; or folder with one JSON file of tools/demo.py per video",
    )
    add(
        "--protocol",
        default="recommended",
        help="recommended, act, multisports or yowo (default: %(default)s)",
    )
    add(
        "--thresholds",
        nargs="+",
        default=["0.2", "0.5", "0.75", "0.5:0.95"],
        metavar="T",
        help="overlaps of tubes; also 0.05:0.45 and 0.1:0.9 (default: %(default)s)",
    )
    add(
        "--frame-thresholds",
        nargs="+",
        default=["0.5"],
        metavar="T",
        help="IoU of boxes (default: %(default)s)",
    )
    add(
        "--linking",
        default="",
        metavar="PROTOCOL",
        help="link boxes as this protocol does (default: that of --protocol)",
    )
    add("--min-length", type=int, metavar="N", help="shortest linked tube (default: the protocol's)")
    add(
        "--linked-scores",
        default="as_published",
        choices=("as_published", "own_scores"),
        help="with --protocol multisports: scores as published, or of each box (default: %(default)s)",
    )
    add(
        "--errors",
        type=number_from(0, 1, above=True),
        metavar="T",
        help="also how much mAP each kind of error costs, at this overlap",
    )
    add("--json", metavar="OUT", help="write the result to this file")
    add(
        "--min-iou",
        type=number_from(0, 1, above=True),
        default=0.5,
        help="of the precision and recall of tools/demo.py's results (default: %(default)s)",
    )
    add(
        "--min-score",
        type=number_from(0, 1),
        default=0.0,
        help="minimum score of evaluated tubes (default: %(default)s)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    if args.results.is_dir():
        evaluate_demo(args)
        return
    from modist_det.analysis.tube_files import evaluate_files, read_tube_file, report_text
    from modist_det.utils.files import write_json

    result = evaluate_files(
        read_tube_file(args.truth, truth=True),
        read_tube_file(args.results, truth=False),
        args.protocol,
        args.frame_thresholds,
        args.thresholds,
        linking=args.linking,
        min_length=args.min_length,
        scores=args.linked_scores,
        error_threshold=args.errors,
    )
    print(report_text(result))
    if args.json:
        write_json(args.json, result)
        print(f"wrote {args.json}")


def evaluate_demo(args: argparse.Namespace) -> None:
    """The report on generated videos."""
    from modist_det.analysis.tubes import best_poses, evaluate_tubes, read_puppets_tracks, tubes_of_result
    from modist_det.inference import VideoActions
    from modist_det.puppets.labels import CLASS_NAMES

    truth = read_puppets_tracks(args.truth)
    found, right, scores = {}, [], []
    for path in sorted(args.results.glob("*.json")):
        if path.stem in truth:
            result = VideoActions.from_json(path)
            if dict(result.header.class_names) != CLASS_NAMES:
                raise UserError(
                    f"{path} comes from a model whose classes differ from those of generated videos"
                )
            tubes = tubes_of_result(result)
            scores += [tube.score for tube in tubes]
            found[path.stem] = [tube for tube in tubes if tube.score >= args.min_score]
            right += best_poses(truth[path.stem], result, args.min_iou).values()
    if not found:
        raise UserError(f"no JSON file in {args.results} has the name of a video of {args.truth}")
    if scores and max(scores) < args.min_score:
        raise UserError(
            f"none of the {len(scores)} action tubes in {args.results} reaches --min-score {args.min_score:g} "
            f"(best {max(scores):g})"
        )
    metrics = evaluate_tubes(truth, found, args.min_iou)
    print(f"{len(found)} videos, {metrics['tubes']} action tubes, {metrics['true_tubes']} true ones")
    print(
        f"tubes, IoU {args.min_iou:g}: precision {metrics['tube_precision']:.3f}  recall {metrics['tube_recall']:.3f}"
    )
    print(
        f"time:            precision {metrics['time_precision']:.3f}  recall {metrics['time_recall']:.3f}  "
        f"({metrics['seconds']:.1f} s of person-actions detected, {metrics['true_seconds']:.1f} s true)"
    )
    if right:
        moments = [correct for track in right for correct in track]
        mostly = sum(2 * sum(track) > len(track) for track in right)
        print(
            f"best pose:       right for {sum(moments)} of {len(moments)} people of keyframes "
            f"({sum(moments) / len(moments):.3f}); for {mostly} of {len(right)} tracks at most of theirs"
        )


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
