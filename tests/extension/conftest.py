"""docs/EXTENDING.md, whose commands are run as they are written there, on tiny data."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.warm import run_program, start

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def folder(tiny_puppets, tiny_actions, tmp_path_factory, root) -> Path:
    """A copy of this folder, as a user has it: without the tests, and with tools and generated data in their places."""
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "tools").symlink_to(root / "tools")
    (checkout / "datasets").mkdir()
    (checkout / "datasets" / "puppets").symlink_to(tiny_puppets)
    (checkout / "datasets" / "puppets_actions").symlink_to(tiny_actions / "puppets_actions")
    ours = shutil.ignore_patterns("test_*", "conftest.py", "__pycache__")
    return Path(shutil.copytree(HERE, checkout / "tests" / "extension", ignore=ours))


@pytest.fixture(scope="session")
def program(folder):
    """``program(words)`` runs ``python WORDS`` in that folder."""
    environment = {**os.environ, "MODIST_DATASETS": str(folder.parents[1] / "datasets")}

    def run(*words):
        return run_program([folder / words[0], *words[1:]], cwd=folder, env=environment)

    return run


@pytest.fixture(scope="session")
def follow(program, root):
    """``follow(heading)`` runs the commands of a section of docs/EXTENDING.md, and returns what each printed."""
    text = (root / "docs" / "EXTENDING.md").read_text(encoding="utf-8")

    def run(heading: str) -> list[str]:
        section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
        outputs = []
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                assert words[0] == "python", line
                done = program(*words[1:])
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                outputs.append(done.stdout)
        assert outputs
        return outputs

    return run


@pytest.fixture
def apart():
    """``apart(check, ...)`` calls a function in a process of its own: what it imports registers itself there alone."""

    def call(check, *arguments):
        process = start(check, *arguments)
        process.join(120)
        assert process.exitcode == 0, f"{check.__name__}: see the traceback in the captured stderr"

    return call


@pytest.fixture(scope="session")
def backbone_run(follow, folder) -> Path:
    """The run folder of the section on backbones."""
    follow("A backbone")
    return folder / "output" / "patch_backbone"
