"""The fault runs in their short form."""

from __future__ import annotations

import subprocess
import sys


def test_what_a_kill_leaves_is_whole_and_the_next_run_finishes(root):
    line = [sys.executable, "-m", "tests.faults", "--kills", "2", "--job", "generation", "--job", "person"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    rows = {row[0]: row[-5:] for row in (text.rsplit(maxsplit=5) for text in done.stdout.splitlines()[1:])}
    assert {name: int(row[0]) for name, row in rows.items()} == {"person detection": 2, "generation": 2}
