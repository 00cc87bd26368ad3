"""tools/import_annotations.py and tools/export_annotations.py."""

from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest

from modist_det.data.datasets.description import load_description
from modist_det.utils.json_reading import read_json
from modist_det.video.reader import probe

BOX = '<box frame="{}" outside="{}" keyframe="1" xtl="10" ytl="10" xbr="{}" ybr="40">{}</box>'


@pytest.fixture
def run(root, monkeypatch, capsys):
    def run(tool, *words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [tool, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(root / "tools" / f"{tool}.py"), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def cvat(video, width: int, height: int) -> str:
    size = f"<original_size><width>{width}</width><height>{height}</height></original_size>"
    action = '<attribute name="action">{}</attribute>'
    boxes = BOX.format(0, 0, 30, action.format("walk")) + BOX.format(5, 0, 40, action.format("run"))
    boxes += BOX.format(8, 1, 40, action.format("run"))
    return (
        f"<annotations><meta><task><source>{video}.mp4</source>{size}</task></meta>"
        f'<track id="0" label="person">{boxes}</track></annotations>'
    )


@pytest.fixture
def files(tiny_puppets, tmp_path):
    paths = sorted((tiny_puppets / "videos").glob("*.mp4"))[:2]
    info = probe(paths[0])
    for path in paths:
        (tmp_path / f"{path.stem}.xml").write_text(cvat(path.stem, info.width, info.height))
    return [tmp_path / f"{path.stem}.xml" for path in paths], paths[0].parent, info


def test_import(run, files, tmp_path):
    annotated, videos, info = files
    test = annotated[1].stem
    code, out, err = run(
        "import_annotations", *annotated, "--videos", videos, "--test", test, "--out", tmp_path / "mine"
    )
    assert code == 0, err
    assert "mine_train.yaml: 1 videos, 8 keyframes" in out and "tubes of each class: run 2, walk 2" in out
    dataset = load_description(tmp_path / "mine_test.yaml")
    assert dataset.video_names == (test,) and dataset.metadata.class_names == {1: "run", 2: "walk"}
    record = dataset.records()[5]
    assert record.second == pytest.approx(5 / info.fps) and record.actions == ((1,),)
    assert record.boxes[0].tolist() == pytest.approx(
        [10 / info.width, 10 / info.height, 40 / info.width, 40 / info.height], abs=1e-6
    )


def test_names_that_yaml_would_read_otherwise(run, files, tmp_path):
    annotated, videos, _ = files
    code, out, err = run(
        "import_annotations", *annotated, "--videos", videos, "--every", 2, "--out", tmp_path / "a: #1"
    )
    assert code == 0, err
    assert "a: #1.yaml: 2 videos, 8 keyframes" in out
    assert len(load_description(tmp_path / "a: #1.yaml").records()) == 8


def test_import_refuses(run, files, tmp_path):
    (first, second), videos, info = files
    words = ("--videos", videos, "--out", tmp_path / "mine")
    assert "is in two of the files" in run("import_annotations", first, first, *words)[2]
    assert "--test: no video 'x'" in run("import_annotations", first, *words, "--test", "x")[2]
    assert (
        "leave at least one for training" in run("import_annotations", first, *words, "--test", first.stem)[2]
    )
    second.write_text(cvat(second.stem, 9, 9))
    code, _, err = run("import_annotations", second, *words)
    assert code == 1 and f"was annotated at 9 x 9 pixels, but {videos}" in err
    second.write_text(cvat("nobody", info.width, info.height))
    assert "has no video 'nobody'" in run("import_annotations", second, *words)[2]
    assert not (tmp_path / "mine.json").exists()


def test_export_of_a_dataset(run, files, tmp_path):
    """What was imported, exported and imported again is the same."""
    annotated, videos, _ = files
    paths = ("--videos", videos, "--out")
    assert run("import_annotations", *annotated, *paths, tmp_path / "mine")[0] == 0
    code, out, err = run(
        "export_annotations", tmp_path / "mine.json", "--format", "mot", "--out", tmp_path / "pre"
    )
    assert code == 0 and out.count("wrote") == 2, err
    names = [path.stem for path in annotated]
    files = [tmp_path / "pre" / name / "gt" / "gt.txt" for name in names]
    assert run("import_annotations", *files, *paths, tmp_path / "again")[0] == 0
    before, after = (read_json(tmp_path / f"{name}.json") for name in ("mine", "again"))
    for name in names:
        assert [t.pop("boxes") for t in before[name]["tubes"]] == [
            pytest.approx(np.array(t.pop("boxes")), abs=2e-6) for t in after[name]["tubes"]
        ]
    assert after == before


def test_export_refuses(run, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"v": {"width": 4}}')
    words = (path, "--out", tmp_path / "pre")
    assert "is neither a result of tools/demo.py nor a tubes.json" in run("export_annotations", *words)[2]
    assert "did you mean 'cvat'" in run("export_annotations", *words, "--format", "cvatt")[2]
    path.write_text('{"v": {"width": 4, "height": 4, "num_frames": 1, "fps": 1, "tubes": []}}')
    assert "video v is in another of the files, too" in run("export_annotations", path, *words)[2]
