"""tools/benchmark.py as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.warm import run_program


@pytest.fixture
def benchmark(root, tmp_path):
    """Run the tool; returns the finished process."""

    def run(*words, **variables):
        command = [root / "tools" / "benchmark.py", *words]
        return run_program(command, cwd=tmp_path, env={**os.environ, **variables})

    return run


def test_data_of_a_folder(benchmark, tiny_puppets, tmp_path):
    options = (
        "--frames 4 --stride 2 --short-side 48 --crop 32 --clips 3 --workers 1 --batch-size 2 --repeat 2"
    )
    done = benchmark("data", "--videos", tiny_puppets / "videos", *options.split(), "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "frames 4, stride 2, short side 48, crop 32, clips a batch 2" in done.stdout
    content = json.loads((tmp_path / "out.json").read_text())
    loader = content["series"][-1]
    assert (loader["name"], loader["items"], loader["samples"]) == ("loader, 1 workers", 4, 2)
    assert loader["items_per_second"] == pytest.approx(4 / (sum(loader["wall_s"]) / 2))
    assert f"| {loader['name']}" in done.stdout


def test_model_with_options_and_overrides(benchmark, root, tmp_path):
    options = (
        "--batch-size 2 --boxes 1 --amp bf16 --channels-last --device cpu --threads 1 --warmup 1 --repeat 2"
    )
    overrides = "MODEL.CHANNELS_LAST False MODEL.RESNET3D.WIDTH 4 INPUT.CROP_SIZE 32 INPUT.NUM_FRAMES 2"
    config = root / "configs" / "Puppets" / "Slow_R18.yaml"
    words = ("--cfg", config, *options.split(), "--json", "out.json", *overrides.split())
    done = benchmark("model", *words, ONEDNN_MAX_CPU_ISA="AVX2")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "runs in fp32: this CPU with ONEDNN_MAX_CPU_ISA=AVX2 is not faster in bf16 (SOLVER.AMP)" in line
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["settings"]["clips"] == "2x3x2x32x32"
    assert content["settings"]["amp"] == "off"
    assert content["settings"]["channels last"] is True
    assert content["settings"]["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    assert content["machine"]["threads"] == 1
    step = content["series"][-1]
    assert (step["name"], step["samples"], step["items"]) == ("training step", 2, 2)


def test_evaluator_without_torch(root, tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['benchmark.py', 'evaluator', '--detections', '300', '--boxes', '60', '--keyframes', '40',\n"
        "            '--repeat', '2', '--json', 'out.json']\n"
        "try:\n"
        f"    runpy.run_path({str(root / 'tools' / 'benchmark.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["settings"]["detections"] == 300
    assert [row["samples"] for row in content["series"]] == [2, 2]
    assert "x csv pass" in content["series"][1]["facts"]


@pytest.mark.parametrize("command", ["data", "model", "evaluator"])
def test_help_of_each_command_has_an_example(benchmark, command):
    done = benchmark(command, "--help")
    assert done.returncode == 0
    assert f"python tools/benchmark.py {command}" in done.stdout.split("example:")[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["data", "--videos", "nowhere.mp4"],
            "error: cannot read video nowhere.mp4: No such file or directory",
        ),
        (
            ["data", "--workers", "-1"],
            "benchmark.py data: error: argument --workers: -1 is less than 0",
        ),
    ],
)
def test_a_mistake_is_one_line(benchmark, words, line):
    done = benchmark(*words)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(line)
    assert "Traceback" not in done.stderr


def test_motion_and_extraction(benchmark, root, tiny_puppets, tmp_path):
    config = root / "configs/Puppets/MoDist_R18.yaml"
    overrides = "INPUT.CROP_SIZE 32 INPUT.NUM_FRAMES 2 MOTION.NUM_FRAMES 2 MOTION.SHORT_SIDE 32"
    videos = tiny_puppets / "videos"
    done = benchmark(
        "motion",
        "--cfg",
        config,
        "--videos",
        videos,
        "--samples",
        3,
        "--json",
        "out.json",
        *overrides.split(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    rgb, cached, computed = json.loads((tmp_path / "out.json").read_text())["series"]
    assert [row["samples"] for row in (rgb, cached, computed)] == [3, 3, 3]
    ratios = sorted(a / b for a, b in zip(computed["wall_s"], rgb["wall_s"], strict=True))
    assert computed["facts"]["x RGB alone"] == pytest.approx(ratios[1])

    done = benchmark("extraction", "--videos", videos, "--short-side", 0, "--repeat", 1, "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [row["name"] for row in content["series"]] == ["DIS", "Farneback"]
    assert content["series"][0]["items"] == 11 * 30  # 11 videos of 3 seconds at 10 frames a second


def test_estimators_take_options(benchmark, tiny_puppets, tmp_path):
    options = ("--videos", tiny_puppets / "videos", "--short-side", 0, "--repeat", 1, "--json", "out.json")
    names = ["DIS,preset=ultrafast", "Farneback,levels=1,iterations=1"]
    done = benchmark("extraction", *options, "--estimators", *names)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["name"] for row in json.loads((tmp_path / "out.json").read_text())["series"]] == names
    done = benchmark("extraction", *options, "--estimators", "DIS,speed=1")
    assert done.returncode == 1 and "DIS has no option 'speed'" in done.stderr
    done = benchmark("extraction", *options, "--estimators", "DIS,ultrafast")
    assert done.returncode == 1 and "--estimators ultrafast is not of the form NAME=VALUE" in done.stderr


def test_pretraining_step_with_and_without_motion(benchmark, root, tmp_path):
    config = root / "configs/Puppets/MoDist_R18.yaml"
    options = (
        "--batch-size 2 --device cpu --threads 1 --warmup 0 --repeat 1 --json out.json INPUT.CROP_SIZE 32 "
        "SOLVER.AMP.ENABLED False"
    )
    for weight in ("1.0", "0.0"):
        done = benchmark("model", "--cfg", config, *options.split(), "MODEL.MODIST.CROSS_WEIGHT", weight)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((tmp_path / "out.json").read_text())["settings"]["clips"].startswith("2x2x3x")


def test_views_of_a_classifier(benchmark, root, tmp_path, tiny_actions):
    config = root / "configs/Puppets/Classification_R18.yaml"
    overrides = "MODEL.RESNET3D.WIDTH 4 INPUT.MIN_SIZE_TEST 32 INPUT.NUM_FRAMES 2 TEST.NUM_ENSEMBLE_VIEWS 3"
    videos = next((tiny_actions / "puppets_actions/videos").iterdir())
    options = ("--videos", videos, "--count", 2, "--repeat", 2, "--workers", 1, "--threads", 1)
    done = benchmark("views", "--cfg", config, *options, "--json", "out.json", *overrides.split())
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((tmp_path / "out.json").read_text())
    once, each, forwards, test = content["series"]
    assert [s["name"] for s in content["series"]] == [
        "decode once",
        "decode 3 views one by one",
        "3 forward passes",
        "test, 1 workers",
    ]
    assert [s["samples"] for s in content["series"]] == [4, 4, 4, 2]
    assert each["facts"]["x decode once"] > 1.0
    parts = [sum(s["cpu_s"][2 * i] + s["cpu_s"][2 * i + 1] for s in (once, forwards)) / 2 for i in range(2)]
    ratios = sorted(whole / part for whole, part in zip(test["cpu_s"], parts, strict=True))
    assert test["facts"]["x decode once + forwards (CPU)"] == pytest.approx(sum(ratios) / 2)
    done = benchmark("views", "--cfg", root / "configs/Puppets/Slow_R18.yaml", "--videos", videos)
    assert done.returncode == 1 and "views are of TASK classification" in done.stderr


def test_data_of_classification(benchmark, root, tiny_actions, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(tiny_actions))
    config = root / "configs/Puppets/Classification_R18.yaml"
    small = ["--clips", "3", "--workers", "0", "--batch-size", "2", "--repeat", "1", "--no-baseline"]
    done = benchmark(
        "data", "--cfg", config, *small, "INPUT.CROP_SIZE", 32, "INPUT.MIN_SIZE_TRAIN", "[32,40]"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "| decode + transform" in done.stdout
