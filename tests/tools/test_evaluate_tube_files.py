"""tools/evaluate_tubes.py on files; on results of the demo: test_demo.py."""

from __future__ import annotations

import json
import pickle
import runpy
import sys

import numpy as np
import pytest


@pytest.fixture
def run(root, monkeypatch, capsys):
    def run(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate_tubes.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(root / "tools" / "evaluate_tubes.py"), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def files(tmp_path):
    boxes = [[10 + f, 20, 60 + f, 120] for f in range(1, 21)]
    truth = [{"video": "v", "class": "run", "frames": list(range(1, 21)), "boxes": boxes}]
    rows = {
        "video": ["v"] * 20,
        "class": ["run"] * 20,
        "frame": np.arange(1, 21),
        "box": np.array(boxes, float),
        "score": np.linspace(0.5, 0.9, 20),
    }
    (tmp_path / "truth.json").write_text(json.dumps({"ground_truth": truth, "videos": {"v": {"frames": 20}}}))
    (tmp_path / "found.pkl").write_bytes(pickle.dumps(rows))
    return tmp_path


@pytest.mark.parametrize("protocol", ["recommended", "act", "multisports", "yowo"])
def test_frame_detections_are_linked(run, files, protocol):
    paths = ("--truth", files / "truth.json", "--results", files / "found.pkl")
    code, out, _ = run(*paths, "--protocol", protocol, "--errors", "0.5", "--json", files / "out.json")
    assert code == 0 and "frame AP" in out and "video AP" in out and "missed" in out
    result = json.loads((files / "out.json").read_text())
    assert result["frame_map"]["0.5"]["mean"] == pytest.approx(1)
    assert list(result["video_map"]) == ["0.2", "0.5", "0.75", "0.5:0.95"]
    assert all(entry["mean"] == pytest.approx(1, abs=1e-4) for entry in result["video_map"].values())


def test_linking_of_another_protocol(run, files):
    """Ours makes tubes of any length, MultiSports' only those of 15 frames."""
    paths = ("--truth", files / "truth.json", "--results", files / "found.pkl", "--json", files / "out.json")
    rows = pickle.loads((files / "found.pkl").read_bytes())
    (files / "found.pkl").write_bytes(pickle.dumps({name: column[:12] for name, column in rows.items()}))
    for linking, ap in (("multisports", 0), ("recommended", 1)):
        code, _, _ = run(*paths, "--protocol", "multisports", "--linking", linking)
        result = json.loads((files / "out.json").read_text())
        assert code == 0 and result["video_map"]["0.5"]["mean"] == ap
    assert "unknown protocol 'x'" in run(*paths, "--linking", "x")[2]


def test_tubes(run, files):
    content = json.loads((files / "truth.json").read_text())
    tubes = [{**tube, "score": 0.5} for tube in content["ground_truth"]]
    (files / "tubes.json").write_text(json.dumps(tubes))
    code, out, _ = run(
        "--truth", files / "truth.json", "--results", files / "tubes.json", "--thresholds", "0.3"
    )
    assert code == 0 and "0.3" in out and "frame AP" not in out and "95 %" not in out


def test_interval_from_five_videos_on(run, files):
    content = json.loads((files / "truth.json").read_text())
    (tube,) = content["ground_truth"]
    content["ground_truth"] = [{**tube, "video": f"v{i}"} for i in range(6)]
    tubes = [{**t, "score": 0.9 - i / 10} for i, t in enumerate(content["ground_truth"][:4])]
    (files / "truth.json").write_text(json.dumps(content))
    (files / "tubes.json").write_text(json.dumps(tubes))
    paths = ("--truth", files / "truth.json", "--results", files / "tubes.json", "--json", files / "out.json")
    code, out, _ = run(*paths)
    assert code == 0 and "95 %, from" in out
    result = json.loads((files / "out.json").read_text())["video_map"]
    low, high = result["0.5"]["interval"]
    assert 0 <= low < 4 / 6 < high <= 1 and "interval" not in result["0.5:0.95"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps(print), "holds "),
        (b"no pickle", "is no pickle"),
        (pickle.dumps(3), "neither a list of records nor a dict"),
        (pickle.dumps({"boxes": [1]}), "has none of tube_detections, frame_detections"),
        (pickle.dumps([{"video": "v"}]), "needs 'class'"),
    ],
)
def test_malformed(run, files, content, reason):
    (files / "found.pkl").write_bytes(content)
    code, _, err = run("--truth", files / "truth.json", "--results", files / "found.pkl")
    assert code == 1 and reason in err and "Traceback" not in err and err.count("\n") == 1
