"""tools/compare_runs.py on files of both kinds."""

from __future__ import annotations

import json
import runpy
import sys
from xml.etree import ElementTree

import numpy as np
import pytest


@pytest.fixture
def run(root, monkeypatch, capsys):
    def run(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["compare_runs.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(root / "tools" / "compare_runs.py"), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def test_tubes(run, tmp_path):
    """B finds all of 12 videos, A a third of them."""
    boxes = [[10, 20, 60, 120]] * 20
    truth = [
        {"video": f"v{i}", "class": "<run>", "frames": list(range(1, 21)), "boxes": boxes} for i in range(12)
    ]
    tubes = [{**tube, "score": 0.5 + i / 100} for i, tube in enumerate(truth)]
    for name, content in (("truth", truth), ("a", tubes[::3]), ("b", tubes)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = [tmp_path / f"{name}.json" for name in ("a", "b", "truth")]
    code, out, _ = run(*files[:2], "-g", files[2], "--protocol", "act", "--json", tmp_path / "out.json")
    assert code == 0 and "b is better than a" in out
    result = json.loads((tmp_path / "out.json").read_text())["b"]
    assert result["difference"] == pytest.approx(2 / 3, abs=1e-6) and result["p"] < 0.02
    assert set(result["classes"]) == {"<run>"}
    code, _, _ = run(*files[:2], "-g", files[2], "--html", tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    root = ElementTree.fromstring(page[page.index("<body>") : page.index("</html>")])
    rows = [["".join(cell.itertext()).strip() for cell in row] for row in root.iter("tr")]
    assert code == 0 and rows[0][1:4] == ["a", "b", "difference"]
    assert [row[:4] for row in rows[1:]] == [
        [name, "0.3333", "1.0000", "+0.6667"] for name in ("mAP", "<run>")
    ]
    code, out, _ = run(files[0], files[0], "-g", files[2])
    assert code == 1


def test_ava(run, tmp_path):
    rng = np.random.default_rng(0)
    rows = [(f"v{v}", s, 0.1, 0.1, 0.5, 0.5, a) for v in range(6) for s in (902, 903) for a in (1, 2)]

    def write(name: str, score=None) -> None:
        lines = [",".join(map(str, row if score is None else (*row, score(row)))) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    write("truth.csv")
    for name in ("a.csv", "b.csv"):
        write(name, lambda row: round(float(rng.random()), 3))
    labels = "\n".join(f'item {{ name: "c{i}" id: {i} }}' for i in (1, 2))
    (tmp_path / "labels.pbtxt").write_text(labels)
    paths = [tmp_path / name for name in ("a.csv", "b.csv")]
    code, out, _ = run(*paths, "-g", tmp_path / "truth.csv", "-l", tmp_path / "labels.pbtxt")
    assert code == 0 and "no significant difference (p = 1.000, 6 videos)" in out
    code, _, err = run(*paths, "-g", tmp_path / "truth.csv")
    assert code == 1 and "need their label map" in err
