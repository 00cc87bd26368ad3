#!/usr/bin/env python3
"""Benchmark data loading, a training step, motion maps, test views or the AVA evaluator."""

from __future__ import annotations

import argparse
import importlib
import sys

from modist_det.analysis.benchmark.arguments import benchmark_parser
from modist_det.utils.cli import run_cli


def main(args: argparse.Namespace) -> None:
    # Imported late so that --help is fast and the evaluator is measured without torch.
    name = "motion" if args.command == "extraction" else args.command
    module = importlib.import_module(f"modist_det.analysis.benchmark.{name}")
    report = getattr(module, f"run_{args.command}")(args)
    print(report.text())
    if args.json:
        report.write_json(args.json)
        print(f"\nwrote {args.json}")


if __name__ == "__main__":
    sys.exit(run_cli(benchmark_parser(), main))
