#!/usr/bin/env python3
"""Compute the motion maps of videos once and keep them, so that pretraining reads instead of computing them.

Writes one file for each video. Finished files are kept: a run that was stopped goes on where it was, and --shard
divides the work between machines. Without this step pretraining computes maps as it needs them.
"""

from __future__ import annotations

import argparse
import math
import os
import sys

from modist_det.utils.cli import add_shards, check_shard, make_parser, parse_options, run_cli
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
    add(
        "inputs",
        nargs="+",
        metavar="VIDEOS",
        help="folders of videos, video files, text files with a path on each line, or datasets (name or *.yaml)",
    )
    add("--out", metavar="FOLDER", help="folder of the maps")
    add("--sheet", metavar="PNG", help="draw a few of the videos, their flow and their maps in one image")
    add("--sheet-videos", type=int, default=6, metavar="N", help="how many (default: %(default)s)")
    add("--kind", default="edges", help="edges (default), magnitude, flow or difference")
    add("--estimator", default="DIS", help="DIS (default), Farneback or RAFT")
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the estimator, such as preset=fast (DIS) or size=small, weights=FILE, device=cuda (RAFT)",
    )
    add(
        "--short-side",
        type=int,
        default=128,
        metavar="PIXELS",
        help="working resolution; 0: that of the video (default: %(default)s)",
    )
    add(
        "--gap",
        type=float,
        default=5 / 30,
        metavar="SECONDS",
        help="between the frames compared (default: 5/30)",
    )
    add("--quality", type=int, default=90, help="of the JPEG images, 1 to 100 (default: %(default)s)")
    add("--fps", type=float, help="frames per second of folders of images, which are videos then")
    add(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="processes; 0: only this one (default: one a core)",
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
        raise UserError(f"--fps is {args.fps}, but has to be above 0 and finite")
    if args.sheet_videos < 1:
        raise UserError(f"--sheet-videos is {args.sheet_videos}, but has to be above 0")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
