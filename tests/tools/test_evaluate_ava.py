"""tools/evaluate_ava.py as a user runs it."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.warm import run_program

GROUNDTRUTH = "a,0902,0.1,0.1,0.5,0.9,1,0\na,0903\n"
DETECTIONS = "a,902,0.1,0.1,0.5,0.9,1,0.9\na,903,0.1,0.1,0.5,0.9,1,0.95\n"


@pytest.fixture
def command(root, tmp_path):
    """Run the tool on files of these contents; returns the finished process."""

    def run(*options, groundtruth=GROUNDTRUTH, detections=DETECTIONS, labels='item { name: "walk" id: 1 }'):
        for name, text in (("g.csv", groundtruth), ("d.csv", detections), ("l.pbtxt", labels)):
            (tmp_path / name).write_text(text)
        words = [root / "tools" / "evaluate_ava.py", "-l", "l.pbtxt", "-g", "g.csv", "-d", "d.csv"]
        return run_program([*words, *options], cwd=tmp_path)

    return run


def test_table_and_json(command, tmp_path):
    done = command("--json", "out/result.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mAP@0.5 (official): 0.5000" in done.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["mAP"] == 0.5


def test_chance_is_that_of_random_scores(command, tmp_path):
    """40 boxes of which 10 show the class: among random scores about a quarter of the ranked ones are right."""
    keys = [f"a,{second},0.1,0.1,0.5,0.9,1" for second in range(902, 942)]
    truth = "".join(f"{key},0\n" if number < 10 else key[:5] + "\n" for number, key in enumerate(keys))
    found = "".join(f"{key},{0.9 - number / 100:.2f}\n" for number, key in enumerate(keys))
    done = command("--chance", "--json", "result.json", groundtruth=truth, detections=found)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["mAP"] == 1.0
    assert len(set(result["chance"])) == 5
    assert 0.2 < sum(result["chance"]) / 5 < 0.6
    line = next(line for line in done.stdout.splitlines() if line.startswith("chance, the same boxes"))
    assert f"mAP {min(result['chance']):.4f} to {max(result['chance']):.4f} in 5 draws" in line


def test_interval_over_videos(command, tmp_path):
    """Of six videos, four are found."""
    videos = "abcdef"
    truth = "".join(f"{v},902,0.1,0.1,0.5,0.9,1,0\n" for v in videos)
    found = "".join(f"{v},902,0.1,0.1,0.5,0.9,1,0.9\n" for v in videos[:4])
    assert "interval" not in command(groundtruth=truth, detections=found).stdout
    done = command("--interval", "--json", "result.json", groundtruth=truth, detections=found)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "result.json").read_text())
    interval = result["interval"]
    assert interval["level"] == 0.95
    # Each video draws 1 with probability 2 / 3: a binomial share, whose central 95 % are 0.33 to 1.
    assert 0.1 < interval["low"] < 0.5 and 0.9 < interval["high"] <= 1.0
    assert f"{interval['low']:.4f}" in done.stdout


def test_plots(command, tmp_path):
    done = command("--plots", "plots")
    assert (done.returncode, done.stderr) == (0, "")
    pictures = ["class_ap.png", "precision_recall.png", "score_histograms.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == pictures


def test_exclusions_and_mode(command, tmp_path):
    (tmp_path / "e.csv").write_text("a,903\n")
    done = command("-e", "e.csv", "--mode", "pyslowfast")
    assert done.returncode == 0
    assert "mAP@0.5 (pyslowfast): 1.0000" in done.stdout


def test_a_mistake_is_one_line_and_status_1(command, tmp_path):
    done = command("--json", "result.json", detections="a,902,0.1,0.1,0.5,x,1,0.9\n")
    assert done.returncode == 1
    assert done.stderr == "error: d.csv:1: y2 is 'x', not a finite number\n"
    assert not (tmp_path / "result.json").exists()
    assert "Traceback" in command("--debug", detections="a\n").stderr


def test_warnings_go_to_stderr(command):
    done = command(detections="")
    assert done.returncode == 0
    assert "mAP@0.5 (official): 0.0000" in done.stdout
    assert done.stderr == "warning: d.csv: no detections\n"


def test_help_shows_an_example(command):
    done = command("--help")
    assert done.returncode == 0
    assert "python tools/evaluate_ava.py -l" in done.stdout


@pytest.fixture
def server(tmp_path):
    """The address at which the files of ``tmp_path`` are."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


@pytest.mark.parametrize(
    "options",
    [
        ["--help"],
        ["-l", "l.pbtxt", "-g", "g.csv", "-d", "d.csv", "--json", "o.json"],
        ["-l", "SERVER/l.pbtxt", "-g", "SERVER/g.csv", "-d", "SERVER/d.csv"],
    ],
)
def test_no_torch(command, root, tmp_path, server, monkeypatch, options):
    command()  # writes the files
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    words = [option.replace("SERVER/", server) for option in options]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['evaluate_ava.py', *{words!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(root / 'tools' / 'evaluate_ava.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "from modist_det.evaluation import evaluate_ava\n"
        "heavy = {'torch', 'torchvision', 'cv2', 'av', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if words != options:
        assert len(list((tmp_path / "cache").rglob("*.csv"))) == 2
