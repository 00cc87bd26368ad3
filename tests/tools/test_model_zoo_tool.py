"""tools/model_zoo.py as a user runs it."""

from __future__ import annotations

import os
import re

import pytest

from tests.warm import run_program


@pytest.fixture
def command(root, tmp_path):
    def run(*words):
        environment = os.environ | {"MODIST_DET_CACHE": str(tmp_path / "cache"), "MODIST_DET_OFFLINE": "1"}
        return run_program([root / "tools" / "model_zoo.py", *words], cwd=tmp_path, env=environment)

    return run


def test_list_and_info(command, root):
    done = command("list", "--task", "detection")
    assert done.returncode == 0, done.stderr
    assert re.search(r"pytorchvideo/slowfast_8x8_r50_ava22 +detection +32x2 +mAP 24.67", done.stdout)
    assert "k400" not in done.stdout
    done = command("list", "--markdown")
    assert done.stdout == (root / "MODEL_ZOO.md").read_text(encoding="utf-8")
    done = command("info", "torchvision/resnet18_imagenet", "--tensors")
    assert "format:     torchvision" in done.stdout
    assert "  layer4.1.bn2.running_var [512]" in done.stdout
    assert "configs/Zoo/Pretrained/ImageNet_R18.yaml" in done.stdout


def test_an_empty_cache(command):
    done = command("verify")
    assert (done.returncode, done.stdout) == (0, "no model zoo file is in the cache\n")
    done = command("verify", "modist/maclr")
    assert done.returncode == 1
    assert done.stdout.startswith("modist/maclr: not in the cache")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "modist/macl"], "no 'modist/macl'; did you mean 'modist/maclr'"),
        (["list", "--task", "detect"], "did you mean 'detection'"),
        (["list", "--task", "detection", "--markdown"], "remove --task"),
        (
            ["download", "modist/maclr"],
            "zoo://modist/maclr is not in the cache, and MODIST_DET_OFFLINE forbids",
        ),
        (["download", "modist/maclr", "x"], "the model zoo has no 'x'"),
        (["download", "modist/maclr", "zoo://x"], "the model zoo has no 'x'"),
        (["download", "torchvision://raft_large/C_T_V2"], "raft_large/C_T_V2 is not in the cache"),
        (["download", "https://example.org/a.pth"], "put it at"),
        (["lock"], "no model zoo file is in the cache"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(command, words, message):
    done = command(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
