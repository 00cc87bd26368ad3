"""``--import`` and ``IMPORTS``: a backbone outside the package, through the command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modist_det.checkpoint.reading import config_inside, read_checkpoint
from tests.warm import run_program

HERE = Path(__file__).parent

CONFIG = """\
MODEL:
  BACKBONE: {{NAME: PatchBackbone}}
  PATCH_BACKBONE: {{WIDTH: 16}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [36, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [{data}/train.yaml], TEST: [{data}/val.yaml]}}
DATALOADER: {{NUM_WORKERS: 1}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 0.1}}
OUTPUT_DIR: {out}
"""


@pytest.fixture(scope="module")
def run(tiny_puppets, tmp_path_factory, root):
    """A small training run: its folder, its config file, and ``net(words)``, which runs ``tools/run_net.py``."""
    folder = tmp_path_factory.mktemp("plugin")
    config = folder / "patches.yaml"
    config.write_text(CONFIG.format(data=tiny_puppets, out=folder / "out"))

    def net(*words):
        return run_program([root / "tools" / "run_net.py", "--num-gpus", "0", *words], cwd=HERE)

    done = net("--cfg", config, "--import", "patch_backbone")
    assert done.returncode == 0, done.stderr
    return folder / "out", config, net


def test_config_and_checkpoint_of_a_run_say_what_was_imported(run):
    out, _, _ = run
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written["IMPORTS"] == ["patch_backbone"]
    assert written["MODEL"]["PATCH_BACKBONE"] == {"WIDTH": 16, "PATCH": [2, 8, 8]}
    checkpoint = min((out / "checkpoints").glob("*.pth"))
    assert yaml.safe_load(config_inside(read_checkpoint(checkpoint)))["IMPORTS"] == ["patch_backbone"]


def test_a_run_s_config_is_enough_to_evaluate_and_to_go_on(run):
    out, _, net = run
    evaluated = net("--cfg", out / "config.yaml", "--eval-only")
    assert evaluated.returncode == 0, evaluated.stderr
    resumed = net("--cfg", out / "config.yaml", "--resume", "SOLVER.MAX_EPOCH", "0.2")
    assert resumed.returncode == 0, resumed.stderr


def test_a_config_imports_before_its_keys_are_read_and_so_do_overrides(run, tmp_path):
    _, config, net = run
    base = tmp_path / "base.yaml"
    base.write_text("IMPORTS: patch_backbone\n")
    above = tmp_path / "above.yaml"
    above.write_text(
        f"_BASE_: [base.yaml, {config}]\nIMPORTS: [colorsys]\nMODEL: {{PATCH_BACKBONE: {{WIDTH: 0}}}}\n"
    )
    done = net("--cfg", above)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {above}: MODEL.PATCH_BACKBONE.WIDTH is 0, but must be at least 1\n",
    )
    done = net("--cfg", base, "MODEL.PATCH_BACKBONE.WIDTH", "-1", "IMPORTS", "colorsys")
    assert (
        done.stderr == "error: the command line: MODEL.PATCH_BACKBONE.WIDTH is -1, but must be at least 1\n"
    )


def test_a_checkpoint_does_not_choose_what_is_imported(run, root, tmp_path):
    out, _, _ = run
    checkpoint = min((out / "checkpoints").glob("*.pth"))
    convert = [root / "tools" / "convert_checkpoint.py", checkpoint, tmp_path / "w.safetensors"]
    refused = run_program(convert, cwd=HERE)
    assert refused.returncode == 1 and not (tmp_path / "w.safetensors").exists()
    assert refused.stderr == (
        f"error: the config in {checkpoint}: it was made with the module patch_backbone (IMPORTS), which has not been "
        "imported, as a file from elsewhere may not choose what code runs; if you know the module, add --import "
        "patch_backbone (in Python: import patch_backbone)\n"
    )
    assert run_program([*convert, "--import", "patch_backbone"], cwd=HERE).returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "nowhere",
            None,
            "the module nowhere cannot be imported (ModuleNotFoundError: No module named 'nowhere')",
        ),
        (
            "broken",
            "import nothing_such",
            "the module broken cannot be imported (ModuleNotFoundError: No module named",
        ),
        ("wrong", "x = = 1", "the module wrong cannot be imported (SyntaxError: "),
        (
            "twice",
            "from modist_det.core import add_section\nadd_section('SOLVER', BASE_LR=1.0)",
            "ValueError: config ",
        ),
        ("file.py", "", "'file.py' is no name of a module; give one such as my_package.my_module"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(root, tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / f"{name}.py").write_text(content)
    done = run_program([root / "tools" / "run_net.py", "--cfg", "x.yaml", "--import", name], cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: --import: ") and reason in done.stderr
    assert str(tmp_path) in done.stderr or name == "file.py"


def test_processes_that_are_started_import_them_too(tmp_path, root):
    (tmp_path / "registering.py").write_text(
        "import modist_det.utils.cli\nmodist_det.utils.cli.seen = True\n"
    )
    (tmp_path / "main.py").write_text(
        "from modist_det.utils import plugins, processes\n"
        "def start(): pass\n"
        "def ask(_):\n    import modist_det.utils.cli as c\n    return c.seen\n"
        "if __name__ == '__main__':\n"
        "    plugins.import_modules(['registering'], 'here')\n"
        "    print(list(processes.map_in_processes(ask, [1], 1, start)))\n"
    )
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[True]\n", done.stderr
