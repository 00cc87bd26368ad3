#!/usr/bin/env python3
"""Write the features of the people of whole datasets to a file, for heads that look at the minute around a keyframe.

Takes the config and weights of any detector with a RoIActionHead; people are those of DATASETS.TEST and TEST_BOXES.
The file is for MODEL.FEATURE_BANK.PATH, and MODEL.FEATURE_BANK.CHANNELS is the number of channels that is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli

EXAMPLE = """\
  python tools/make_feature_bank.py --cfg configs/Puppets/Slow_R18.yaml --out bank.pt \\
      DATASETS.TEST "['puppets_train','puppets_val']" \\
      MODEL.WEIGHTS output/Puppets/Slow_R18/checkpoints/model_0002072.pth
  python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml MODEL.HEAD.NAME FeatureBankHead \\
      MODEL.FEATURE_BANK.PATH bank.pt MODEL.FEATURE_BANK.CHANNELS 128 OUTPUT_DIR output/feature_bank"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file (YAML)")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="feature bank to write")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set")
    return parser


def main(args: argparse.Namespace) -> None:
    # Imported late so that --help and a wrong option respond at once.
    from modist_det.analysis.feature_bank import make_feature_bank
    from modist_det.config import get_cfg

    videos, people, channels = make_feature_bank(get_cfg(args.cfg, args.overrides), args.out)
    print(f"wrote {args.out}: {people} people of {videos} videos, {channels} channels")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
