#!/usr/bin/env python3
"""Write detections, or a dataset of tubes, as files of an annotation tool: to be corrected there instead of drawn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, number_from, run_cli

EXAMPLE = """\
  python tools/demo.py videos --out found --no-video
  python tools/export_annotations.py found/walk.json found/run.json --format cvat --out pre
  python tools/export_annotations.py mine.json --format label-studio --out pre"""


def get_parser() -> argparse.ArgumentParser:
    from modist_det.app.annotate import add_export_options

    parser = make_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="JSON of tools/demo.py, or tubes.json of a dataset",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a file for each video")
    add_export_options(parser)
    parser.add_argument(
        "--min-score",
        type=number_from(0, 1),
        default=0.0,
        help="of actions in results (default: all that they have)",
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.app.annotate import export_annotations

    for path in export_annotations(args.files, args.format, args.out, args.tolerance, args.min_score):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
