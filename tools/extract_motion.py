#!/usr/bin/env python3
"""Precompute the motion maps of videos for pretraining.

Writes one file per video. Finished files are kept: an interrupted run continues where it stopped. --shard divides the
work among machines. Without this step pretraining computes maps on the fly.
"""

from __future__ import annotations

import argparse
import math
import os
import sys

from modist_det.utils.cli import add_shards, add_videos, check_shard, make_parser, parse_options, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/extract_motion.py datasets/puppets/videos --out datasets/puppets/motion
  python tools/extract_motion.py k400/train --out k400_motion --shard 3 --num-shards 16 --workers 32
  python tools/extract_motion.py clips.txt --out motion --estimator RAFT \\
      --option weights=raft_large_C_T_V2.pth --option device=cuda --short-side 0 --workers 0
  python tools/extract_motion.py datasets/puppets/videos --sheet motion.png"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add_videos(parser)
    add("--out", metavar="FOLDER", help="output folder of the maps")
    add("--sheet", metavar="PNG", help="draw a few of the videos, their flow and their maps in one image")
    add(
        "--sheet-videos",
        type=int,
        default=6,
        metavar="N",
        help="number of videos on the sheet (default: %(default)s)",
    )
    add("--kind", default="edges", help="edges (default), magnitude, flow or difference")
    add("--estimator", default="DIS", help="DIS (default), Farneback or RAFT")
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the estimator, such as preset=fast (DIS) or size=small, weights=FILE, device=cuda (RAFT)",
    )
    add(
        "--short-side",
        type=int,
        default=128,
        metavar="PIXELS",
        help="resolution at which flow is computed; 0: that of the video (default: %(default)s)",
    )
    add(
        "--gap",
        type=float,
        default=5 / 30,
        metavar="SECONDS",
        help="seconds between the two frames that are compared (default: 5/30)",
    )
    add(
        "--reference-side",
        type=int,
        default=0,
        metavar="PIXELS",
        help="give flow in pixels of a frame with this short side, whatever the video's own; 0: in its own pixels "
        "(default: %(default)s)",
    )
    add(
        "--limit",
        type=float,
        default=0.0,
        metavar="MOTION",
        help="motion that becomes the largest value of a map, 255: pixels per pixel (edges), pixels (magnitude, flow) "
        "or grey levels (difference); 0: 10, 20 and 255 (default: 0)",
    )
    add("--quality", type=int, default=90, help="JPEG quality of the maps, 1 to 100 (default: %(default)s)")
    add("--fps", type=float, help="frame rate of frame folders, which are then also searched for")
    add(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="worker processes; 0: only this process (default: one per core)",
    )
    add_shards(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    check(args)
    from modist_det.data.motion_sources import find_sources
    from modist_det.motion.extract import ExtractionSettings, extract_motion

    settings = ExtractionSettings(
        kind=args.kind,
        estimator=args.estimator,
        options=tuple(sorted(parse_options("--option", args.option).items())),
        gap_seconds=args.gap,
        short_side=args.short_side or None,
        quality=args.quality,
        reference_side=args.reference_side,
        limit=args.limit,
    )
    sources = find_sources(args.inputs, args.out or "", args.fps)[args.shard :: args.num_shards]
    if args.sheet and not sources:
        raise UserError(
            f"--sheet: share {args.shard} of {args.num_shards} has no video; use fewer --num-shards"
        )
    failures = 0
    if args.out:
        report = extract_motion(sources, args.out, settings, args.workers)
        failures = len(report.failed)
        size = f", {report.bytes / report.maps:.0f} bytes a map" if report.maps else ""
        print(
            f"{args.out}: {report.made} videos extracted ({report.maps} maps{size}), {report.kept} kept, "
            f"{failures} failed"
        )
    if args.sheet:
        from modist_det.analysis.motion_sheet import draw_motion_sheet

        chosen = sources[:: max(len(sources) // args.sheet_videos, 1)][: args.sheet_videos]
        draw_motion_sheet(
            [(source.video, source.fps) for source in chosen], args.sheet, settings.build_reader()
        )
        print(f"wrote {args.sheet}")
    return 1 if failures else 0


def check(args: argparse.Namespace) -> None:
    if not args.out and not args.sheet:
        raise UserError("nothing to do: give --out FOLDER for the maps, --sheet PNG for an image, or both")
    check_shard(args)
    if not 1 <= args.quality <= 100:
        raise UserError(f"--quality is {args.quality}, but goes from 1 to 100")
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise UserError(f"--fps is {args.fps}, but must be above 0 and finite")
    if args.sheet_videos < 1:
        raise UserError(f"--sheet-videos is {args.sheet_videos}, but must be above 0")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
