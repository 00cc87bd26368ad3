#!/usr/bin/env python3
"""Draw test videos with their nearest training videos by cosine similarity of features.

Takes a config of TASK classification. A neighbour of the query's class has a green border, any other a red one.
Features are kept in OUTPUT_DIR/features and reused, as in tools/linear_probe.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import at_least, make_parser, run_cli

EXAMPLE = """\
  python tools/neighbours.py --cfg configs/Puppets/Classification_R18.yaml --out neighbours.png \\
      MODEL.WEIGHTS output/Puppets/MoDist_R18/checkpoints/model_0001850.pth"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("--cfg", required=True, metavar="FILE", help="config file (YAML)")
    add("--out", required=True, metavar="PNG", help="image to write")
    add(
        "--queries",
        type=at_least(1),
        default=8,
        help="number of evenly spaced test videos (default: %(default)s)",
    )
    add("--count", type=at_least(1), default=6, help="neighbours per test video (default: %(default)s)")
    add("--features", type=Path, metavar="DIR", help="folder of the features (default: OUTPUT_DIR/features)")
    add("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set")
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.analysis.neighbours import show_neighbours
    from modist_det.config import get_cfg

    cfg = get_cfg(args.cfg, args.overrides)
    show_neighbours(cfg, args.out, num_queries=args.queries, count=args.count, folder=args.features)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
