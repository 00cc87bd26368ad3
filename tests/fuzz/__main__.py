"""Command line of the fuzzer: runs cases for some time and prints counts and findings."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .kinds import KINDS
from .workers import Limits, Outcome, Worker, run_case, run_cases

__all__ = ["Findings", "main"]

_KEPT = 3  # cases saved for each signature


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=1.0, help="time for all kinds together (default: %(default)s)")
    add("--cases", type=int, default=0, metavar="N", help="instead of a time: cases of each kind")
    add(
        "--kind",
        action="append",
        type=_kind,
        help=f"only this one, may be given several times: {', '.join(KINDS)}, or module:function",
    )
    add("--seed", type=int, default=0, help="of the first case of each kind (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    add("--limit", type=float, default=10.0, metavar="S", help="seconds that a case may take (default: 10)")
    add("--memory", type=int, default=1024, metavar="MB", help="that a case may take (default: 1024)")
    add("--out", type=Path, help="folder for findings (default: a new one in the temporary folder)")
    add("--replay", nargs=2, metavar=("KIND", "SEED"), help="run one case here and keep its files in --out")
    return parser


def _kind(name: str) -> str:
    if name not in KINDS and ":" not in name:
        raise argparse.ArgumentTypeError(f"there is no kind {name!r}; kinds are {', '.join(KINDS)}")
    return name


def _folder_of(kind: str, seed: int) -> str:
    return f"{kind.replace(':', '.')}-{seed}"


class Findings:
    """Counts of outcomes by kind; findings are saved as they come."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.counts: dict[str, Counter[str]] = {}
        self.slowest: dict[str, float] = {}
        self.first: dict[str, Outcome] = {}
        self.times: Counter[str] = Counter()

    def add(self, outcome: Outcome, worker: Worker) -> None:
        key = outcome.result if not outcome.is_finding else "findings"
        self.counts.setdefault(outcome.kind, Counter())[key] += 1
        self.slowest[outcome.kind] = max(self.slowest.get(outcome.kind, 0.0), outcome.seconds)
        if not outcome.is_finding:
            return
        self.times[outcome.signature] += 1
        self.first.setdefault(outcome.signature, outcome)
        if self.times[outcome.signature] > _KEPT:
            return
        print(f"{outcome.kind} {outcome.seed}: {outcome.result} {outcome.detail}", flush=True)
        folder = self.out / _folder_of(outcome.kind, outcome.seed)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(worker.folder, folder, symlinks=True)
        folder.mkdir(parents=True, exist_ok=True)
        facts = f"{outcome.signature}\n{outcome.seconds:.1f} s, {outcome.megabytes} MB\n\n{outcome.trace}"
        (folder / "report.txt").write_text(facts, encoding="utf-8", errors="replace")

    def __bool__(self) -> bool:
        return bool(self.times)

    def table(self) -> str:
        lines = ["kind              cases    right  refused  findings  slowest (s)"]
        rows = [(kind, count, self.slowest[kind]) for kind, count in sorted(self.counts.items())]
        total: Counter[str] = sum((count for _, count, _ in rows), Counter())
        for kind, count, slowest in [*rows, ("all", total, max(self.slowest.values(), default=0.0))]:
            cells = f"{count.total():9}{count['right']:9}{count['refused']:9}{count['findings']:10}"
            lines.append(f"{kind:14}{cells}{slowest:13.1f}")
        for signature, times in self.times.most_common():
            example = self.first[signature]
            lines.append(f"\n{times} x {signature}\n  --replay {example.kind} {example.seed}")
            lines += [f"  {line}" for line in example.trace.strip().splitlines()[-6:]]
        return "\n".join(lines)


def _endless(kinds: Sequence[str], seed: int, cases: int, seconds: float) -> Iterator[tuple[str, int]]:
    """Kinds in turn, each with its own seeds from ``seed`` on."""
    end = time.monotonic() + seconds
    for number in itertools.count() if not cases else range(cases):
        for kind in kinds:
            if not cases and time.monotonic() > end:
                return
            yield kind, seed + number


def main(argv: Sequence[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    out = args.out or Path(tempfile.mkdtemp(prefix="modist_fuzz_"))
    out.mkdir(parents=True, exist_ok=True)
    if args.replay:
        kind, seed = args.replay
        outcome = run_case(kind, int(seed), out / _folder_of(kind, int(seed)))
        print(f"{kind} {seed}: {outcome.result} {outcome.detail}\n{outcome.trace}\nfiles are in {out}")
        return int(outcome.is_finding)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers
    findings = Findings(out)
    start = time.monotonic()
    kinds = args.kind or list(KINDS)
    limits = Limits(args.limit, args.memory << 20)
    with (
        tempfile.TemporaryDirectory(prefix="modist_fuzz_work_") as scratch,
        contextlib.suppress(KeyboardInterrupt),
    ):
        cases = _endless(kinds, args.seed, args.cases, 60 * args.minutes)
        run_cases(cases, args.workers, Path(scratch), limits, findings.add)
    print(findings.table())
    print(f"\n{time.monotonic() - start:.0f} s, {args.workers} workers, seeds from {args.seed}")
    if findings:
        print(f"findings are in {out}")
    elif args.out is None:
        out.rmdir()
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
