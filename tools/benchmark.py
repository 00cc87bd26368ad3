#!/usr/bin/env python3
"""Measure data loading, a model's step, motion, test views or the evaluator."""

from __future__ import annotations

import argparse
import sys

from modist_det.analysis.benchmark.arguments import benchmark_parser
from modist_det.utils.cli import run_cli


def main(args: argparse.Namespace) -> None:
    # Here and not above, so that --help answers at once and the evaluator is measured without torch.
    if args.command == "data":
        from modist_det.analysis.benchmark.data import run_data as run
    elif args.command == "model":
        from modist_det.analysis.benchmark.model import run_model as run
    elif args.command == "motion":
        from modist_det.analysis.benchmark.motion import run_motion as run
    elif args.command == "extraction":
        from modist_det.analysis.benchmark.motion import run_extraction as run
    elif args.command == "views":
        from modist_det.analysis.benchmark.views import run_views as run
    else:
        from modist_det.analysis.benchmark.evaluator import run_evaluator as run

    report = run(args)
    print(report.text())
    if args.json:
        report.write_json(args.json)
        print(f"\nwrote {args.json}")


if __name__ == "__main__":
    sys.exit(run_cli(benchmark_parser(), main))
