#!/usr/bin/env python3
"""Evaluate a backbone with a linear classifier on its features, which are extracted once; fitting takes seconds.

Takes a config of TASK classification. Features are kept in --features or OUTPUT_DIR/features and extracted again when
the backbone, views or videos have changed. For protocols that train on augmented clips use tools/run_net.py with
MODEL.BACKBONE.FREEZE True.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli

EXAMPLE = """\
  python tools/linear_probe.py --cfg configs/UCF101/Linear_R50.yaml MODEL.WEIGHTS path/to/checkpoint.pth
  python tools/linear_probe.py --cfg configs/Puppets/Classification_R18.yaml DATASETS.TRAIN_SHARE 0.2"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file (YAML)")
    parser.add_argument("--features", type=Path, metavar="DIR", help="default: OUTPUT_DIR/features")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set")
    return parser


def main(args: argparse.Namespace) -> None:
    # Imported late so that --help and a wrong option respond at once.
    from modist_det.analysis.linear_probe import probe
    from modist_det.config import get_cfg
    from modist_det.evaluation.report import results_table

    cfg = get_cfg(args.cfg, args.overrides)
    print(results_table(probe(cfg, args.features)))


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
