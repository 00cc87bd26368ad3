#!/usr/bin/env python3
"""Re-encode videos for training: small frames, a keyframe every few frames, times as they were.

Clips that begin long after a keyframe are read faster. Names stay (the ending becomes .mp4), so descriptions and
annotations go on working: name the new folder as their 'videos:'. Each new file is read again before it counts.
Finished files are kept: an interrupted run continues where it stopped. --shard divides the work among machines.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict

from modist_det.utils.cli import (
    add_shards,
    add_videos,
    at_least,
    check_shard,
    make_parser,
    number_from,
    run_cli,
)
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/prepare_videos.py k400/train --out k400_256/train
  python tools/prepare_videos.py datasets/mine/train.yaml --out datasets/mine/videos_256 --fps 25
  python tools/prepare_videos.py ucf101 --out ucf101_intra --keyframe-every 1 --short-side 0 --report report.json
  python tools/prepare_videos.py clips --in-place --sound --shard 3 --num-shards 16"""

_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add_videos(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", metavar="FOLDER", help="folder of the new videos")
    target.add_argument(
        "--in-place",
        action="store_true",
        help="put each new video in the place of the original, which is deleted",
    )
    add(
        "--short-side",
        type=at_least(0),
        default=256,
        metavar="PIXELS",
        help="0: that of the video (default: 256)",
    )
    add(
        "--keyframe-every",
        type=at_least(1),
        default=8,
        metavar="FRAMES",
        help="frames from one keyframe to the next; 1: every frame (default: 8)",
    )
    add(
        "--fps",
        default="",
        help="constant frame rate, such as 25 or 30000/1001 (default: each frame keeps its time)",
    )
    add(
        "--frame-fps",
        type=number_from(0, above=True),
        help="frame rate of frame folders, which are then also searched for",
    )
    add("--sound", action="store_true", help="keep the sound")
    add(
        "--quality",
        type=number_from(0, 51),
        default=18,
        metavar="CRF",
        help="of x264, 0 (best) to 51 (default: 18)",
    )
    add("--preset", choices=_PRESETS, default="medium", help="of x264 (default: medium)")
    add("--report", metavar="JSON", help="write what became of each video")
    add(
        "--workers",
        type=at_least(0),
        default=os.cpu_count(),
        help="worker processes; 0: only this process (default: one per core)",
    )
    add_shards(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    check_shard(args)
    from modist_det.data.motion_sources import find_sources
    from modist_det.utils.files import write_json
    from modist_det.video.prepare import PreparationSettings, prepare_videos, prepared_name

    if args.in_place and args.frame_fps:
        raise UserError("--in-place replaces files, not folders of frames; give --out FOLDER")
    settings = PreparationSettings(
        args.short_side, args.keyframe_every, args.fps, args.sound, int(args.quality), args.preset
    )
    out = None if args.in_place else args.out
    sources = find_sources(args.inputs, out, args.frame_fps, prepared_name)[args.shard :: args.num_shards]
    prepared = prepare_videos(sources, settings, args.workers, replace=args.in_place)
    if args.report:
        files = [asdict(file) for file in prepared.files]
        write_json(args.report, {"settings": asdict(settings), "summary": prepared.summary(), "files": files})
    print(f"{args.out or 'in place'}: {prepared.summary()}")
    return 1 if prepared.of("failed") else 0


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
