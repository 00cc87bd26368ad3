#!/usr/bin/env python3
"""Show where a network looks: Grad-CAM on keyframes, one column for each checkpoint, and the share of it on people.

Takes any checkpoint with the config's backbone, a pretrained one, too: the maps explain the norm of the pooled feature,
or with --action the score of a class.
"""

from __future__ import annotations

import argparse
import sys

from modist_det.utils.cli import at_least, make_parser, run_cli

EXAMPLE = """\
  python tools/gradcam.py --cfg configs/Puppets/Slow_R18.yaml --data datasets/puppets/val.yaml \\
      --weights "" output/Puppets/Slow_R18/checkpoints/model_0002072.pth --out gradcam.png"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("--cfg", required=True, metavar="FILE", help="config of a detector with that backbone")
    add("--data", required=True, metavar="NAME", help="AVA-style dataset: catalogue name or description file")
    add(
        "--weights",
        required=True,
        nargs="+",
        metavar="FILE",
        help='checkpoints; "" stands for fresh weights',
    )
    add("--out", required=True, metavar="PNG", help="image to write")
    add("--action", default="", help="explain this class's score of the annotated persons (needs its head)")
    add("--keyframes", type=at_least(1), default=48, help="how many are looked at (default: %(default)s)")
    add("--shown", type=at_least(1), default=6, help="how many of them are drawn (default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> None:
    from tabulate import tabulate

    from modist_det.analysis.attention import compare_attention
    from modist_det.config import get_cfg

    metrics = compare_attention(
        get_cfg(args.cfg),
        args.weights,
        args.data,
        args.out,
        num_keyframes=args.keyframes,
        num_shown=args.shown,
        action=args.action,
    )
    rows = [(name, share, area, share / area) for name, (share, area) in metrics.items()]
    headers = ["weights", "share of the map on people", "their share of the frame", "ratio"]
    print(tabulate(rows, headers=headers, floatfmt=".3f"))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
