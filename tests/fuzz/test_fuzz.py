"""The fuzzer on fixed seeds, and the fuzzer itself on planted faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

from . import loads, tables
from .__main__ import main
from .kinds import KINDS, rng_of
from .mutate import mutate_bytes, mutate_tree
from .originals import draw, original, read_number
from .workers import Limits, Worker, run_case

CASES = 5  # of each kind; `python -m tests.fuzz` runs more


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A child process with tight limits."""
    worker = Worker(tmp_path_factory.mktemp("fuzz"), Limits(seconds=1.0, memory=200 << 20))
    yield worker
    worker.close()


def planted(name: str) -> str:
    return f"tests.fuzz.planted:{name}"


def test_every_kind_on_fixed_seeds(tmp_path, capsys):
    kinds = [word for kind in KINDS for word in ("--kind", kind)]
    status = main(["--cases", str(CASES), "--workers", "1", "--limit", "60", "--out", str(tmp_path), *kinds])
    table = capsys.readouterr().out
    assert status == 0, table
    (total,) = [line.split() for line in table.splitlines() if line.startswith("all ")]
    assert total[1] == str(CASES * len(KINDS))
    assert int(total[2]) > CASES and int(total[3]) > CASES  # both right and refused


@pytest.mark.parametrize(
    ("name", "result", "said"),
    [
        ("refused", "refused", "no"),
        ("wrong", "wrong", "7 is not 8"),
        ("traceback", "traceback", "pop from empty list"),
        ("long_message", "message", "two\nlines"),
        ("crash", "crash", "Segmentation fault"),
        ("hang", "hang", "in hang"),
        ("memory", "memory", ""),
        ("peak", "memory", ""),
        ("child_memory", "memory", ""),
    ],
)
def test_planted_faults_are_found(worker, name, result, said):
    outcome = worker(planted(name), 3)
    assert (outcome.result, outcome.seed) == (result, 3)
    assert said in outcome.trace
    assert outcome.is_finding == (result != "refused")


def test_a_worker_goes_on_after_a_crash(worker):
    assert worker(planted("crash"), 0).result == "crash"
    assert worker(planted("refused"), 1).result == "refused"


def test_findings_are_counted_saved_and_replayed(tmp_path, capsys):
    kind = planted("mixed")
    # The kind's name and the seed decide the random numbers, so its cases can be worked out here.
    wrong = [seed for seed in range(5, 25) if _mixed_is_wrong(seed)]
    assert 0 < len(wrong) < 20
    assert (
        main(["--kind", kind, "--cases", "20", "--seed", "5", "--workers", "1", "--out", str(tmp_path)]) == 1
    )
    out = capsys.readouterr().out
    assert f"{20:9}{20 - len(wrong):9}{0:9}{len(wrong):10}" in out
    assert f"{len(wrong)} x {kind}: wrong: the one fault" in out
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == sorted(f"tests.fuzz.planted.mixed-{seed}" for seed in wrong[:3])  # three of one signature
    again = run_case(kind, wrong[0], tmp_path / "again")
    assert again.result == "wrong"
    assert (tmp_path / "again" / "file").read_bytes() == (
        tmp_path / f"tests.fuzz.planted.mixed-{wrong[0]}" / "file"
    ).read_bytes()
    assert main(["--replay", kind, str(wrong[0]), "--out", str(tmp_path)]) == 1


def _mixed_is_wrong(seed: int) -> bool:
    rng = rng_of(planted("mixed"), seed)
    rng.bytes(10)
    return rng.random() >= 0.7


def test_loads_are_measured():
    found = loads.measure("the same with quoted names", scale=0.02)
    assert found.found == 60_000
    assert found.seconds > 0 and found.cpu > 0
    assert found.memory > 60_000 * 50  # no less than a row's numbers take


def test_command_line_without_findings(root):
    command = [sys.executable, "-m", "tests.fuzz", "--kind", "csv", "--cases", "3", "--workers", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "csv                   3        3        0         0" in done.stdout


def test_mutations_are_reproducible_and_change_something():
    data = bytes(range(256)) * 4
    made = [mutate_bytes(rng_of("x", seed), data) for seed in range(50)]
    assert made == [mutate_bytes(rng_of("x", seed), data) for seed in range(50)]
    assert sum(changed != data for changed in made) > 40
    tree = {"a": [1, {"b": 2}], "c": "d"}
    trees = [repr(mutate_tree(rng_of("x", seed), tree)) for seed in range(50)]
    assert len(set(trees)) > 20
    assert tree == {"a": [1, {"b": 2}], "c": "d"}  # left as it was


def test_numbers_survive_encoding():
    assert [read_number(draw(n, 48, 64)[..., None].repeat(3, 2)) for n in (0, 1, 77, 255)] == [0, 1, 77, 255]
    assert original(3).data == original.__wrapped__(3).data  # the same file each time


def test_the_slow_parser_by_hand():
    data = b'video,second\n\n"a,b", 0902,.1,1e-1,0.5,1.0,3,7\nc,3\n'
    rows, keyframes = tables.slow_rows(data, tables.GROUND_TRUTH)
    assert rows == [("a,b", 902.0, (0.1, 0.1, 0.5, 1.0), 3, 1.0, 7)]
    assert keyframes == [("c", 3.0)]
    with pytest.raises(ValueError, match="1_000"):
        tables.slow_rows(b"a,1_000\n", tables.GROUND_TRUTH)
