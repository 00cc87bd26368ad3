#!/usr/bin/env python3
"""Check a classification dataset: annotations, missing or unreadable videos, number of videos per class."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets import ClassificationDataset
from modist_det.data.datasets.ava_check import format_report
from modist_det.data.datasets.classification_check import check_classification
from modist_det.utils.cli import at_least, make_parser, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python datasets/prepare_classification.py check ucf101_split1_train
  python datasets/prepare_classification.py check kinetics400_val --names-only
  python datasets/prepare_classification.py check datasets/mine/train.yaml --limit 1000"""


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    commands = p.add_subparsers(dest="command", required=True, metavar="{check}")
    check = commands.add_parser(
        "check", help="check annotations and videos; exit status 0 if nothing is wrong"
    )
    check.add_argument("dataset", metavar="DATASET", help="catalogue name or description file")
    check.add_argument(
        "--names-only", action="store_true", help="check that videos exist without opening them"
    )
    check.add_argument(
        "--limit",
        type=at_least(0),
        default=100,
        metavar="N",
        help="number of problems and of warnings to print (default: %(default)s)",
    )
    check.add_argument(
        "--threads", type=at_least(1), metavar="N", help="videos to open in parallel (default: one per CPU)"
    )
    return p


def main(args: argparse.Namespace) -> int:
    dataset = DatasetCatalog.get(args.dataset)
    if not isinstance(dataset, ClassificationDataset):
        raise UserError(
            f"{args.dataset} is not a classification dataset; AVA-style data: prepare_ava.py check"
        )
    report = check_classification(dataset, not args.names_only, args.threads, sys.stderr.isatty())
    print(format_report(report, args.limit, counted="videos"))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
