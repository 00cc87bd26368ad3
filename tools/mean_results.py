#!/usr/bin/env python3
"""Average the final metrics of several runs, such as the three splits of HMDB51."""

from __future__ import annotations

import argparse
import sys

from modist_det.analysis.mean_results import mean_results, mean_table
from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.files import write_json

EXAMPLE = """\
  python tools/mean_results.py output/HMDB51/split1 output/HMDB51/split2 output/HMDB51/split3"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    parser.add_argument("runs", nargs="+", metavar="OUTPUT_DIR", help="output folder of a run")
    parser.add_argument("--json", metavar="OUT", help="write the result to this file")
    return parser


def main(args: argparse.Namespace) -> None:
    results = mean_results(args.runs)
    print(mean_table(results, args.runs))
    if args.json:
        write_json(args.json, results)
        print(f"wrote {args.json}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
