#!/usr/bin/env python3
"""Judge a backbone by a linear classifier on its features: extracted once, then fitted in seconds.

Takes a config of TASK classification. Without --features they are kept in OUTPUT_DIR/features; they are extracted again
when backbone, views or videos have changed. Protocols that train on augmented clips: tools/run_net.py with
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
    parser.add_argument("--features", type=Path, metavar="DIR", help="folder of the features")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set")
    return parser


def main(args: argparse.Namespace) -> None:
    # Here and not above, so that --help and a wrong option answer at once.
    from modist_det.analysis.linear_probe import probe
    from modist_det.config import get_cfg
    from modist_det.evaluation.report import results_table

    cfg = get_cfg(args.cfg, args.overrides)
    print(results_table(probe(cfg, args.features)))


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
