#!/usr/bin/env python3
"""Compare pretraining methods on labelled datasets over several seeds, from one YAML file.

Pretrains each method without labels, then evaluates frozen features (nearest neighbours, a linear classifier) and
fine-tuning. The untrained network and the flow-edge pyramid, which learns nothing, are always rows. Finished parts are
kept; run it again after an interruption. Writes tables.md, study.png and results/ into the study's output folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli

EXAMPLE = """\
  python tools/study.py docs/study/puppets.yaml
  python tools/study.py mine.yaml --report-only"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "study", type=Path, metavar="FILE", help="the study (YAML); docs/STUDY.md describes its keys"
    )
    parser.add_argument(
        "--report-only", action="store_true", help="only write tables and plot of what is finished"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    # Imported late so that --help and a wrong option respond at once.
    from modist_det.analysis.study import collect, read_study, run_study
    from modist_det.analysis.study_report import draw_study, study_tables
    from modist_det.utils.errors import UserError
    from modist_det.utils.files import atomic_path

    study = read_study(args.study)
    if not args.report_only:
        run_study(study)
    results = collect(study)
    if not any(results.values()):
        raise UserError(f"{study.output} has no results yet; run the study without --report-only")
    tables = study_tables(results, study.compare)
    with atomic_path(study.output / "tables.md") as temporary:
        temporary.write_text(tables, encoding="utf-8")
    draw_study(results, study.output / "study.png")
    print(tables)
    print(f"written: {study.output / 'tables.md'}, {study.output / 'study.png'}")


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
