#!/usr/bin/env python3
"""Detect people in a dataset or a folder of videos, and write their boxes in AVA's person-box format.

Finished videos are kept: an interrupted run continues where it stopped. --shard divides the work among processes and
machines; the last shard to finish writes the csv.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import (
    add_shards,
    at_least,
    check_shard,
    make_parser,
    number_from,
    parse_options,
    run_cli,
)
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/detect_persons.py datasets/puppets/val.yaml --out puppets_persons.csv
  python tools/detect_persons.py my_videos --every 0.5 --persons yolox_s.onnx --out persons.csv
  python tools/detect_persons.py ava_v2.2_val --persons Detectron2 --shard 3 --num-shards 16 --out ava_persons.csv"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add(
        "data", metavar="DATA", help="dataset (name or *.yaml), whose keyframes are used, or folder of videos"
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="CSV",
        help="output file; OUT.parts holds one file per video",
    )
    add(
        "--persons",
        metavar="DETECTOR",
        help="FastestDet, YOLOX, FasterRCNN, Detectron2 or an .onnx file (default: FastestDet where its file is "
        "found, otherwise FasterRCNN)",
    )
    add(
        "--person-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the person detector",
    )
    add(
        "--every",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="detection interval in a folder of videos (default: 1)",
    )
    add(
        "--fps",
        type=number_from(0, above=True),
        default=25.0,
        help="frame rate of frame folders in a folder (default: %(default)s)",
    )
    add("--batch-size", type=at_least(1), default=8, help="frames per batch (default: %(default)s)")
    add_shards(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    from modist_det.data.catalog import DatasetCatalog
    from modist_det.inference.choose import choose_detector
    from modist_det.inference.persons.extract import detect_persons, videos_of_dataset, videos_of_folder

    check_shard(args)
    if not 0 < args.every < float("inf"):
        raise UserError(f"--every is {args.every}, but must be above 0")
    is_dataset = args.data in DatasetCatalog.list() or args.data.endswith((".yaml", ".yml"))
    if is_dataset:
        videos = videos_of_dataset(args.data)
    else:
        videos = videos_of_folder(args.data, args.every, args.fps)
    options = parse_options("--person-option", args.person_option)
    detector = choose_detector(args.persons, options)
    settings = {
        "data": args.data,
        "every": None if is_dataset else args.every,
        "persons": args.persons or type(detector).__name__,
        "options": options,
    }
    report = detect_persons(
        videos, detector, args.out, settings, args.shard, args.num_shards, args.batch_size
    )
    print(
        f"{report.made} videos searched ({report.boxes} boxes), {report.kept} kept, {len(report.failed)} failed"
    )
    if report.missing:
        print(
            f"{report.missing} of {len(videos)} videos are still to be done; {args.out} is written after the last"
        )
    else:
        print(f"wrote {args.out}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
