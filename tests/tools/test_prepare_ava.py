"""datasets/prepare_ava.py: describe, check and split data of one's own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from modist_det.data.datasets import load_description
from modist_det.formats.ava.files import read_label_map
from modist_det.puppets.writers import write_video
from modist_det.utils.cli import run_cli

LABELS = 'item { name: "stand" id: 1 }\nitem { name: "walk" id: 2 }\nitem { name: "run" id: 5 }\n'
GOOD = """\
one,0,0.1,0.1,0.5,0.9,1,0
one,0,0.1,0.1,0.5,0.9,2,0
one,1,0.1,0.1,0.5,0.9,1,0
my film,0,0.1,0.1,0.5,0.9,5,0
my film,1
"""


@pytest.fixture
def run(root, capsys):
    """Run the command in this process: (exit status, what it printed)."""
    spec = importlib.util.spec_from_file_location("prepare_ava", root / "datasets" / "prepare_ava.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def call(*arguments: object) -> tuple[int, str]:
        status = run_cli(script.parser(), script.main, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two videos of two seconds."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("one.mp4", "my film.mkv"):
        write_video(folder / name, np.zeros((10, 32, 32, 3), dtype=np.uint8), fps=5)
    return folder


@pytest.fixture
def mine(videos, tmp_path) -> Path:
    """The description of a dataset that is right."""
    (tmp_path / "labels.pbtxt").write_text(LABELS)
    (tmp_path / "gt.csv").write_text(GOOD)
    (tmp_path / "mine.yaml").write_text(
        f"format: ava\nvideos: {videos}\nlabel_map: labels.pbtxt\nannotations: gt.csv\n"
    )
    return tmp_path / "mine.yaml"


def add(description: Path, name: str, text: str) -> None:
    path = description.parent / name
    path.write_text((path.read_text() if path.exists() else "") + text)


# ---- check ------------------------------------------------------------------------------------


def test_a_right_data_set(run, mine) -> None:
    status, text = run("check", mine)
    assert status == 0 and "nothing is wrong" in text and "problem" not in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "videos 2 annotated, 2 found, 2 readable" in lines
    assert "duration 4.0 s" in lines
    assert "keyframes 3 with persons, 1 without" in lines
    assert "persons 3 with 4 actions" in lines
    assert {"1 stand 2", "2 walk 1", "5 run 1"} <= set(lines)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one,1,0.1,0.1,0.5,0.9\n", "gt.csv:6: 6 columns"),
        ("one,1,0.1,0.1,0.5,many,1\n", "gt.csv:6: y2 is 'many'"),
        ("one,1,0.5,0.1,0.1,0.9,1\n", "gt.csv:6: box (0.5, 0.1, 0.1, 0.9) is inverted"),
        ("one,1,5,10,20,30,1\n", "gt.csv:6: box (5, 10, 20, 30) is outside"),
        ("one,1,0.1,0.1,0.1,0.9,1\n", "gt.csv:6: box (0.1, 0.1, 0.1, 0.9) has no area"),
        ("one,1,0.1,0.1,0.5,0.9,1,0\n", "gt.csv:6: the same box and action as in line 3"),
        ("one,1,0.1,0.1,0.5,0.9,3\none,1,0.2,0.1,0.5,0.9,3\n", "gt.csv:6: class id 3 is not in"),
        (
            "one,2,0.1,0.1,0.5,0.9,1\n",
            "gt.csv:6: second 2 of one is beyond the video's end, which is second 2.00",
        ),
        ("one,7\n", "gt.csv:6: second 7 of one is beyond the video's end"),
        ("gone,1,0.1,0.1,0.5,0.9,1\n", "video gone is missing from"),
        ('"one,1,0.1\n', "gt.csv:6: not a csv row"),
    ],
)
def test_one_problem(run, mine, row, message) -> None:
    add(mine, "gt.csv", row)
    status, text = run("check", mine)
    assert status == 1 and message in text and "1 problem\n" in text and "nothing is wrong" not in text


def test_all_problems_at_once(run, mine) -> None:
    """A row that cannot be read hides nothing of what is wrong elsewhere."""
    add(mine, "gt.csv", "one,x\n\ngone,0,0,0,1,1,1\none,5,0,0,1,1,9\none,1,0.5,0,0.1,1,1\n")
    (mine.parent / "boxes.csv").write_text("one,0,0.1,0.1,0.5,0.9,,high\none,9,0.1,0.1,0.5,0.9,,0.9\n")
    (mine.parent / "ex.csv").write_text("one,0\none\n")
    add(mine, "mine.yaml", "person_boxes: boxes.csv\nexclusions: ex.csv\n")
    status, text = run("check", mine)
    assert status == 1 and "8 problems\n" in text
    for message in (
        "gt.csv:6: second is 'x'",
        "gt.csv:10: box (0.5, 0, 0.1, 1) is inverted",
        "gt.csv:9: class id 9 is not in",
        "gt.csv:9: second 5 of one is beyond",
        "video gone is missing",
        "boxes.csv:1: score is 'high'",
        "boxes.csv:2: second 9 of one is beyond",
        "ex.csv:2: 1 column",
    ):
        assert message in text


def test_problems_are_capped(run, mine) -> None:
    add(mine, "gt.csv", "one,x\n" * 30)
    status, text = run("check", mine, "--limit", 4)
    assert status == 1 and "30 problems" in text and "... and 26 more" in text and text.count("gt.csv:") == 4


def test_first_second(run, mine) -> None:
    add(mine, "mine.yaml", "first_second: 1\n")
    status, text = run("check", mine)
    assert status == 1 and "gt.csv:1: second 0 of one is before the video's first frame" in text
    assert "which is second 1 (first_second) (and in 1 other row)" in text


@pytest.mark.parametrize("content", [b"", b"this is not a video"])
def test_a_video_that_does_not_open(run, mine, videos, tmp_path, content) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "broken.mp4").write_bytes(content)
    add(mine, "gt.csv", "broken,0,0.1,0.1,0.5,0.9,1\n")
    mine.write_text(mine.read_text().replace(str(videos), f"[{videos}, more]"))
    status, text = run("check", mine)
    assert status == 1 and "broken.mp4" in text and "1 problem\n" in text and "3 found, 2 readable" in text


def test_warnings_leave_the_status_at_0(run, mine, videos, tmp_path) -> None:
    (tmp_path / "more").mkdir()
    write_video(tmp_path / "more" / "unused.mp4", np.zeros((2, 32, 32, 3), dtype=np.uint8), fps=5)
    mine.write_text(mine.read_text().replace(str(videos), f"[{videos}, more]"))
    (mine.parent / "boxes.csv").write_text("one,1.5,0.1,0.1,0.5,0.9,,0.9\n")
    add(mine, "mine.yaml", "person_boxes: boxes.csv\n")
    add(mine, "labels.pbtxt", 'item { name: "fly" id: 6 }\n')
    status, text = run("check", mine)
    assert status == 0 and "4 warnings" in text and "nothing is wrong" in text
    assert "1 video has no annotations: unused.mp4" in text and "no row has class fly (6)" in text
    assert "boxes.csv:1: second 1.5 of one is not a multiple of keyframe_spacing 1" in text
    assert "no keyframe is in both" in text


def test_person_boxes_that_the_usual_threshold_leaves_out(run, mine) -> None:
    (mine.parent / "boxes.csv").write_text("one,1,0.1,0.1,0.5,0.9,,0.4\none,1,0.2,0.1,0.5,0.9,,0.3\n")
    add(mine, "mine.yaml", "person_boxes: boxes.csv\n")
    status, text = run("check", mine)
    assert status == 0
    assert "boxes.csv reaches 0.9, the default of DATASETS.PERSON_SCORE_THRESH (2 boxes, best 0.4)" in text


def test_classes_that_num_classes_declares_need_no_name(run, mine) -> None:
    add(mine, "gt.csv", "one,1,0.2,0.1,0.5,0.9,7\n")
    add(mine, "mine.yaml", "num_classes: 8\n")
    assert run("check", mine)[0] == 0


def test_frame_folders(run, mine, tmp_path) -> None:
    for i in range(8):
        (tmp_path / "frames" / "film").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "frames" / "film" / f"f{i}.jpg"), np.zeros((32, 32, 3), dtype=np.uint8))
    (mine.parent / "gt.csv").write_text("film,0,0,0,1,1,1\nfilm,1,0,0,1,1,2\nfilm,2,0,0,1,1,5\n")
    settings = yaml.safe_load(mine.read_text()) | {"videos": "frames", "fps": 4}
    mine.write_text(yaml.safe_dump(settings))
    status, text = run("check", mine)
    assert (
        status == 1
        and "second 2 of film is beyond the video's end, which is second 2.00" in text
        and "1 problem\n" in text
    )


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("gt.csv", "gt.csv does not exist"),
        ("labels.pbtxt", "labels.pbtxt does not exist"),
        ("mine.yaml", "does not exist"),
    ],
)
def test_missing_files(run, mine, file, message) -> None:
    (mine.parent / file).unlink()
    status, text = run("check", mine)
    assert status == 1 and message in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "gt.csv has no rows"),
        (b"a\0b", "zero bytes"),
        (GOOD.encode() + b"\xff\xfe,1\n", "gt.csv:6: not UTF-8"),
    ],
)
def test_files_that_are_not_text(run, mine, content, message) -> None:
    (mine.parent / "gt.csv").write_bytes(content)
    status, text = run("check", mine)
    assert status == 1 and message in text and "1 problem\n" in text


def test_missing_folder_of_videos(run, mine, videos) -> None:
    mine.write_text(mine.read_text().replace(str(videos), "nowhere"))
    status, text = run("check", mine)
    assert status == 1 and "nowhere does not exist" in text


def test_real_clips(run, real_data, tmp_path) -> None:
    folder = real_data / "ucf101_24"
    arguments = [
        "--videos",
        folder / "videos",
        real_data / "ucf101",
        "--annotations",
        folder / "gt_ava_format.csv",
    ]
    assert (
        run("init", *arguments, "--label-map", folder / "label_map.pbtxt", "--out", tmp_path / "all.yaml")[0]
        == 0
    )
    status, text = run("check", tmp_path / "all.yaml")
    assert status == 0 and "11 annotated, 11 found, 11 readable" in text and "74 with persons" in text


# ---- init and split -----------------------------------------------------------------------------


def test_init(run, mine, videos, tmp_path) -> None:
    out = tmp_path / "new.yaml"
    status, text = run(
        "init", "--videos", videos, "--annotations", tmp_path / "gt.csv", "--label-map", tmp_path / "labels.pbtxt",
        "--first-second", 0, "--keyframe-spacing", 0.5, "--out", out,
    )  # fmt: skip
    assert status == 0 and f"check {out}" in text
    # What lies beside the description is named by a relative path, so that the folder can be moved.
    assert yaml.safe_load(out.read_text()) == {
        "format": "ava",
        "videos": [str(videos)],
        "label_map": "labels.pbtxt",
        "annotations": "gt.csv",
        "first_second": 0.0,
        "keyframe_spacing": 0.5,
    }
    assert len(load_description(out).records()) == 3
    assert run("check", out)[0] == 0


def test_init_writes_a_label_map_where_there_is_none(run, mine, videos, tmp_path) -> None:
    out = tmp_path / "sub" / "new.yaml"
    status, text = run("init", "--videos", videos, "--annotations", tmp_path / "gt.csv", "--out", out)
    assert status == 0 and "label_map.pbtxt" in text
    labels = read_label_map(out.parent / "label_map.pbtxt")
    assert {number: entry.name for number, entry in labels.items()} == {
        1: "class 1",
        2: "class 2",
        5: "class 5",
    }
    assert run("check", out)[0] == 0


def test_init_overwrites_nothing(run, mine, videos, tmp_path) -> None:
    before = mine.read_text()
    status, text = run("init", "--videos", videos, "--annotations", tmp_path / "gt.csv", "--out", mine)
    assert status == 1 and "exists" in text and "--force" in text and mine.read_text() == before
    assert not (tmp_path / "label_map.pbtxt").exists()
    assert (
        run("init", "--videos", videos, "--annotations", tmp_path / "gt.csv", "--out", mine, "--force")[0]
        == 0
    )
    assert "label_map: label_map.pbtxt" in mine.read_text() and (tmp_path / "label_map.pbtxt").exists()


def test_init_with_a_file_that_is_not_there(run, videos, tmp_path) -> None:
    status, text = run(
        "init", "--videos", videos, "--annotations", tmp_path / "no.csv", "--out", tmp_path / "x.yaml"
    )
    assert status == 1 and "no.csv does not exist" in text and not (tmp_path / "x.yaml").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--fps", "0", "fps is 0.0, but must be a number above 0"),
        ("--keyframe-spacing", "-1", "keyframe_spacing"),
        ("--first-second", "nan", "first_second"),
        ("--videos", "{folder}/gt.csv", "is not a folder"),
        ("--person-boxes", "{folder}", "is a folder, not a file"),
        ("--annotations", "{folder}/bare.csv", "no row with an action"),
        ("--out", "{folder}/new", "ends in .yaml"),
    ],
)
def test_init_writes_nothing_that_check_would_refuse(
    run, mine, videos, tmp_path, option, value, message
) -> None:
    add(mine, "bare.csv", "one,0\n")
    before = sorted(tmp_path.iterdir())
    options = {"--videos": videos, "--annotations": tmp_path / "gt.csv", "--out": tmp_path / "new.yaml"}
    options[option] = value.format(folder=tmp_path)
    status, text = run("init", *(word for pair in options.items() for word in pair))
    assert status == 1 and message in text and text.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_split_writes_all_files_or_none(run, mine, videos, tmp_path) -> None:
    write_many(mine, videos, 4)
    (tmp_path / "val.yaml").write_text("mine")
    status, text = run("split", mine)
    assert status == 1 and "val.yaml exists" in text and not (tmp_path / "train.csv").exists()


def write_many(mine: Path, videos: Path, count: int) -> None:
    rows = "".join(f"v{i},{s},0.1,0.1,0.5,0.9,{1 + i % 2}\n" for i in range(count) for s in range(2))
    (mine.parent / "gt.csv").write_text(rows + "v0,5\n")
    (mine.parent / "many").mkdir()
    for i in range(count):
        shutil.copy(videos / "one.mp4", mine.parent / "many" / f"v{i}.mp4")
    mine.write_text(mine.read_text().replace(str(videos), "many") + "first_second: -0.5\nnum_classes: 9\n")


def test_split(run, mine, videos, tmp_path) -> None:
    write_many(mine, videos, 10)
    status, text = run("split", mine, "--val-share", 0.3)
    assert status == 0 and "train.yaml: 7 videos" in text and "val.yaml: 3 videos" in text
    train, val = (load_description(tmp_path / f"{name}.yaml") for name in ("train", "val"))
    names = [{record.video_id for record in part.records()} for part in (train, val)]
    assert len(names[0]) == 7 and len(names[1]) == 3 and names[0] | names[1] == {f"v{i}" for i in range(10)}
    assert train.first_second == val.first_second == -0.5 and train.metadata.num_classes == 9
    rows = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in ("train", "val")]
    assert len(rows[0]) + len(rows[1]) == 21 and ("v0,0005" in rows[0]) == ("v0" in names[0])
    assert [line.split()[1] for line in text.splitlines() if line.startswith("videos ")] == [
        "7",
        "3",
    ]  # checked
    again = run("split", mine)
    assert again[0] == 1 and "exists" in again[1] and "--force" in again[1]
    assert run("split", mine, "--val-share", 0.2, "--force")[0] == 0
    assert len(load_description(tmp_path / "train.yaml").records()) == 16


def test_split_follows_the_seed(run, mine, videos, tmp_path) -> None:
    write_many(mine, videos, 10)
    chosen = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run("split", mine, "--seed", seed, "--out", tmp_path / folder)[0] == 0
        chosen.append((tmp_path / folder / "val.csv").read_text())
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(load_description(tmp_path / "c" / "train.yaml").records()) == 16


def test_split_needs_two_videos(run, mine) -> None:
    (mine.parent / "gt.csv").write_text("one,0,0.1,0.1,0.5,0.9,1\n")
    status, text = run("split", mine)
    assert status == 1 and "a split needs two" in text


# ---- the command itself -------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help_starts_without_torch(root, arguments) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['prepare_ava.py', *{arguments}]\n"
        "try:\n"
        f"    runpy.run_path({str(root / 'datasets' / 'prepare_ava.py')!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert result.returncode == 0 and "usage" in result.stdout, result.stderr


def test_kinetics(run, tmp_path) -> None:
    """Annotations of whole videos are described for their clips, and stay as they are."""
    clips, source = tmp_path / "clips" / "run", tmp_path / "k.csv"
    clips.mkdir(parents=True)
    write_video(clips / "abc_000010_000020.mp4", np.zeros((50, 32, 32, 3), dtype=np.uint8), fps=5)
    rows = "abc,12.500,0.1,0.1,0.5,0.9,5\ngone,3.000,0.1,0.1,0.5,0.9,5\n"
    source.write_text(rows)
    (tmp_path / "labels.pbtxt").write_text(LABELS)
    command = ("kinetics", "--videos", clips.parent, "--annotations", source)
    command += ("--label-map", tmp_path / "labels.pbtxt", "--out")
    status, text = run(*command, tmp_path / "k.yaml")
    assert status == 1 and "k.csv would be written over" in text and source.read_text() == rows
    status, text = run(*command, tmp_path / "k.yaml", "--force")
    assert status == 1 and source.read_text() == rows
    status, text = run(*command, tmp_path / "train.yaml")
    assert status == 0 and "1 of 2 labelled keyframes" in text, text
    dataset = load_description(tmp_path / "train.yaml")
    assert dataset.num_classes == 80
    (record,) = dataset.records()
    assert (record.video_id, record.time, record.actions) == ("run/abc_000010_000020", 2.5, ((5,),))
    (tmp_path / "train.yaml").unlink()
    status, text = run(*command, tmp_path / "train.yaml")
    assert status == 1 and "train.csv exists" in text
    assert run(*command, tmp_path / "train.yaml", "--force")[0] == 0


def test_kinetics_names_all_that_is_missing(run, tmp_path):
    (tmp_path / "videos").mkdir()
    status, text = run(
        *("kinetics", "--annotations", tmp_path / "k.csv", "--videos", tmp_path / "videos"),
        *("--label-map", tmp_path / "ava.pbtxt", "--out", tmp_path / "train.yaml"),
    )
    assert status == 1
    assert text == (
        f"error: missing: {tmp_path / 'k.csv'}, {tmp_path / 'ava.pbtxt'}. "
        "How to get them: section AVA-Kinetics of datasets/README.md\n"
    )
