"""Command line of the fault runs: kills of each job, and a table of what they showed."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

# Before torch is loaded: the jobs are forks of this process, and bits depend on the number of threads.
os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each job (default: %(default)s)")
    parser.add_argument("--job", action="append", metavar="TEXT", help="only jobs with this in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    args = parser.parse_args(argv)

    # Not a TemporaryDirectory, which each fork would delete at its end.
    home = Path(tempfile.mkdtemp(prefix="faults"))
    os.environ["MODIST_DATASETS"] = str(home / "data")
    try:
        return _run(args, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run(args: argparse.Namespace, home: Path) -> int:
    from .jobs import make_jobs
    from .kills import kill_job
    from .preload import preload

    preload()
    words = args.job or [""]
    jobs = make_jobs(home / "data", words)
    if not jobs:
        print(f"no job has {' or '.join(words)} in its name", file=sys.stderr)
        return 1
    print(f"{'job':<26} {'kills':>5} {'runs':>5} {'s a run':>8} {'wrong':>6} {'minutes':>8}", flush=True)
    wrong = 0
    for number, job in enumerate(jobs):
        began = time.monotonic()
        report = kill_job(job, args.kills, home / str(number), random.Random(args.seed))
        wrong += len(report.wrong)
        minutes = (time.monotonic() - began) / 60
        print(
            f"{job.name:<26} {report.kills:>5} {report.runs:>5} {report.seconds:>8.2f} {len(report.wrong):>6} "
            f"{minutes:>8.2f}",
            flush=True,
        )
        for line in report.wrong:
            print(f"  {line}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
