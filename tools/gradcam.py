#!/usr/bin/env python3
"""Draw Grad-CAM maps of keyframes, one column per checkpoint, and compute the share of each map on people.

Takes any checkpoint with the config's backbone, also a pretrained one. The maps explain the norm of the pooled feature,
or a class score with --action.
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
    add("--cfg", required=True, metavar="FILE", help="config of a detector with this backbone")
    add("--data", required=True, metavar="NAME", help="AVA-style dataset: catalogue name or description file")
    add(
        "--weights",
        required=True,
        nargs="+",
        metavar="FILE_OR_RUN",
        help='checkpoints or run folders; "" stands for random weights',
    )
    add("--out", required=True, metavar="PNG", help="image to write")
    add(
        "--action",
        default="",
        help="explain this class's score of the annotated persons (needs a trained head)",
    )
    add(
        "--keyframes",
        type=at_least(1),
        default=48,
        help="number of keyframes to analyse (default: %(default)s)",
    )
    add("--shown", type=at_least(1), default=6, help="number of keyframes to draw (default: %(default)s)")
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
