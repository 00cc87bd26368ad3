"""``--import`` and ``IMPORTS``: where a module is found, what it leaves in a run, and what is said of a wrong one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from modist_det.checkpoint.reading import config_inside, read_checkpoint

NET = "../../tools/run_net.py"


def test_config_and_checkpoint_of_a_run_say_what_was_imported(backbone_run):
    written = yaml.safe_load((backbone_run / "config.yaml").read_text())
    assert written["IMPORTS"] == ["patch_backbone"]
    assert written["MODEL"]["PATCH_BACKBONE"] == {"WIDTH": 16, "PATCH": [2, 8, 8]}
    checkpoint = min((backbone_run / "checkpoints").glob("*.pth"))
    assert yaml.safe_load(config_inside(read_checkpoint(checkpoint)))["IMPORTS"] == ["patch_backbone"]


def test_a_run_s_config_is_enough_to_evaluate_with_workers(backbone_run, program):
    words = ["--cfg", backbone_run / "config.yaml", "--eval-only", "DATALOADER.NUM_WORKERS", 1]
    done = program(NET, *words)
    assert done.returncode == 0, done.stderr


def test_a_config_imports_before_its_keys_are_read_and_so_do_overrides(program, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("IMPORTS: patch_backbone\n")
    above = tmp_path / "above.yaml"
    above.write_text("_BASE_: base.yaml\nIMPORTS: [colorsys]\nMODEL: {PATCH_BACKBONE: {WIDTH: 0}}\n")
    done = program(NET, "--cfg", above)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {above}: MODEL.PATCH_BACKBONE.WIDTH is 0, but must be at least 1\n",
    )
    done = program(NET, "--cfg", base, "MODEL.PATCH_BACKBONE.WIDTH", "-1", "IMPORTS", "colorsys")
    assert (
        done.stderr == "error: the command line: MODEL.PATCH_BACKBONE.WIDTH is -1, but must be at least 1\n"
    )


def test_a_checkpoint_does_not_choose_what_is_imported(backbone_run, program, tmp_path):
    checkpoint = min((backbone_run / "checkpoints").glob("*.pth"))
    convert = ["../../tools/convert_checkpoint.py", checkpoint, tmp_path / "w.safetensors"]
    refused = program(*convert)
    assert refused.returncode == 1 and not (tmp_path / "w.safetensors").exists()
    assert refused.stderr == (
        f"error: the config in {checkpoint}: it was made with the module patch_backbone (IMPORTS), which has not been "
        "imported, because a downloaded file must not choose what code runs; if you trust the module, add --import "
        "patch_backbone (in Python: import patch_backbone)\n"
    )
    assert program(*convert, "--import", "patch_backbone").returncode == 0


TAKEN = """\
from modist_det.modeling.registry import BACKBONE_REGISTRY

@BACKBONE_REGISTRY.register()
class ResNet3D:
    pass
"""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "nowhere",
            None,
            "there is no module nowhere among the installed packages, in $PYTHONPATH and in the",
        ),
        (
            "broken",
            "\nimport nothing_such",
            "cannot be imported: ModuleNotFoundError: No module named 'nothing_such'",
        ),
        ("wrong", "x = = 1", "cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1)"),
        (
            "raises",
            "\nint('a')",
            "cannot be imported: ValueError: invalid literal for int() with base 10: 'a'",
        ),
        (
            "taken",
            TAKEN,
            "AssertionError: An object named 'ResNet3D' was already registered in 'BACKBONE' registry!",
        ),
        (
            "dataset",
            "from modist_det.data.catalog import DatasetCatalog\nDatasetCatalog.register('puppets_val', dict)",
            "ValueError: the data",
        ),
        (
            "twice",
            "from modist_det.core import add_section\nadd_section('SOLVER', BASE_LR=1.0)",
            "ValueError: config section SOLVER: BASE_LR declared twice",
        ),
        ("file.py", "", "'file.py' is no name of a module; give one such as my_package.my_module"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(folder, program, name, content, reason):
    file = folder / f"{name}.py"
    if content is not None:
        file.write_text(content)
    done = program(NET, "--cfg", "x.yaml", "--import", name)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: --import: ") and reason in done.stderr
    if name in ("broken", "raises", "dataset", "twice"):
        assert done.stderr.endswith(f" ({file}, line 2)\n")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["MODEL.BACKBONE.NAME", "PatchBackbon"],
            "error: MODEL.BACKBONE.NAME is 'PatchBackbon', which is not registered; did you mean 'PatchBackbone'? "
            "(known: ",
        ),
        (
            ["MODEL.PATCH_BACKBONE.WITDH", "3"],
            "error: the command line: there is no config key 'MODEL.PATCH_BACKBONE.WITDH'; did you mean "
            "'MODEL.PATCH_BACKBONE.WIDTH'?\n",
        ),
        (
            ["MODEL.FOCAL_LOSS.GAMMA", "1"],
            "error: the command line: there is no config key 'MODEL.FOCAL_LOSS.GAMMA'",
        ),
        (["TASK", "localization"], "error: TASK is 'localization', which is not registered"),
    ],
)
def test_what_no_module_has_registered(program, tmp_path, words, reason):
    done = program(NET, "--cfg", "patch_backbone.yaml", "OUTPUT_DIR", tmp_path, *words)
    assert done.returncode == 1 and done.stderr.startswith(reason) and done.stderr.count("\n") == 1
    if "not registered" in reason:
        assert done.stderr.endswith("; --import MODULE adds what a module registers)\n")


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
