"""The generated set: the same for a seed, whole or absent, consistent from file to file."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.data.datasets import load_description
from modist_det.puppets import CLASS_NAMES, GESTURES, POSES, PuppetsParams, generate
from modist_det.utils.errors import UserError
from tests.warm import run_program

TINY = PuppetsParams(train_videos=3, val_videos=2, frame_width=64, frame_height=48, fps=10, seconds=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("puppets") / "set"
    assert generate(out, TINY, seed=3, workers=0)
    return out


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def tracks(folder: Path, split: str) -> dict[str, dict]:
    content = json.loads((folder / f"tracks_{split}.json").read_text())
    return {video["video"]: video for video in content["videos"]}


def test_number_of_workers_does_not_matter(tiny: Path, tmp_path: Path) -> None:
    generate(tmp_path / "set", TINY, seed=3, workers=2)
    assert contents(tmp_path / "set") == contents(tiny)


def test_another_seed_gives_other_videos(tiny: Path, tmp_path: Path) -> None:
    generate(tmp_path / "set", TINY, seed=4, workers=0)
    mine, other = contents(tmp_path / "set"), contents(tiny)
    assert mine.keys() == other.keys()
    assert all(mine[name] != other[name] for name in mine if name.endswith(".mp4"))


def test_no_two_videos_of_a_set_are_equal(tiny: Path) -> None:
    videos = [data for name, data in contents(tiny).items() if name.endswith(".mp4")]
    assert len(set(videos)) == len(videos) == TINY.train_videos + TINY.val_videos


def test_videos_are_real_h264(tiny: Path) -> None:
    for path in sorted((tiny / "videos").iterdir()):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert (stream.width, stream.height, stream.pix_fmt) == (64, 48, "yuv420p")
            assert stream.average_rate == TINY.fps
            assert sum(1 for _ in container.decode(video=0)) == 30


def test_ground_truth_is_what_the_tracks_say(tiny: Path) -> None:
    for split in ("train", "val"):
        expected = set()
        for name, video in tracks(tiny, split).items():
            for second in (1, 2):
                people = [p for p in video["people"] if p["boxes"][second * 10] is not None]
                for person in people:
                    x1, y1, x2, y2 = person["boxes"][second * 10]
                    doing = [s for s in person["segments"] if s["start"] <= second < s["end"]]
                    assert len(doing) == 1
                    for action in doing[0]["actions"]:
                        box = (x1 / 64, y1 / 48, x2 / 64, y2 / 48)
                        expected.add((name, second, *np.round(box, 4), action, person["person_id"]))
                if not people:
                    expected.add((name, second))
        found = set()
        for row in rows(tiny / f"{split}.csv"):
            assert re.fullmatch(r"\d{4}", row[1])
            tail = (
                () if len(row) == 2 else (*np.round(np.array(row[2:6], float), 4), int(row[6]), int(row[7]))
            )
            found.add((row[0], int(row[1]), *tail))
        assert found == expected


def test_the_ordinary_reader_reads_it(tiny: Path) -> None:
    for split in ("train", "val"):
        dataset = load_description(tiny / f"{split}.yaml")
        assert dataset.metadata.class_names == CLASS_NAMES and dataset.metadata.num_classes == 12
        people = [row for row in rows(tiny / f"{split}.csv") if len(row) > 2]
        records = list(dataset.records("ground_truth"))
        assert {(r.video_id, int(r.second)) for r in records} == {(row[0], int(row[1])) for row in people}
        assert sum(len(a) for r in records for a in r.actions) == len(people)
        assert all(r.time == r.second and Path(r.video).is_file() for r in records)
        assert len(list(dataset.records("detected", min_score=0.0))) > 0


def test_one_pose_and_gestures_for_each_person(tiny: Path) -> None:
    poses = {number for number, name in CLASS_NAMES.items() if name in POSES}
    for split in ("train", "val"):
        for video in tracks(tiny, split).values():
            for person in video["people"]:
                for segment in person["segments"]:
                    assert len(poses & set(segment["actions"])) == 1
                    assert len(set(segment["actions"])) == len(segment["actions"]) <= 3


def test_label_map_has_the_twelve_classes(tiny: Path) -> None:
    text = (tiny / "label_map.pbtxt").read_text()
    items = re.findall(r'label \{\s+name: "(\w+)"\s+label_id: (\d+)\s+label_type: (\w+)\s+\}', text)
    assert {int(number): name for name, number, _ in items} == CLASS_NAMES
    assert Counter(kind for *_, kind in items) == {"PERSON_MOVEMENT": 7, "OBJECT_MANIPULATION": 5}
    assert {name for name, _, kind in items if kind == "PERSON_MOVEMENT"} == set(POSES)
    assert set(GESTURES) == set(CLASS_NAMES.values()) - set(POSES)


def test_person_boxes_are_those_of_a_fair_detector(tmp_path: Path) -> None:
    """Most people are found with IoU above 0.7, some are not, and some boxes have nobody in them."""
    params = replace(TINY, train_videos=40, val_videos=0, max_distractors=0)
    generate(tmp_path, params, workers=0)
    truth: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for row in rows(tmp_path / "train.csv"):
        if len(row) > 2:
            truth.setdefault((row[0], row[1]), {})[row[7]] = np.array(row[2:6], float)
    people = sum(len(v) for v in truth.values())
    found, false = 0, 0
    for video, second, *box, action, score in rows(tmp_path / "person_boxes_train.csv"):
        assert action == "" and 0 < float(score) <= 1
        x1, y1, x2, y2 = np.array(box, float)
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
        best = 0.0
        for a1, b1, a2, b2 in truth.get((video, second), {}).values():
            inter = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            best = max(best, inter / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - inter))
        found += best > 0.7
        false += best < 0.3
    assert 0.8 * people < found < people
    assert 1 <= false < 0.3 * people


def test_finished_set_is_kept(tiny: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in tiny.rglob("*")}
    assert not generate(tiny, TINY, seed=3, workers=0)
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*")} == before


def test_restart_after_a_kill(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of the third video, with a half-written file: finished as if never stopped."""
    module = sys.modules[generate.__module__]
    render, calls = module.render, []

    def dies(script):
        calls.append(script)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(script)

    out = tmp_path / "set"
    monkeypatch.setattr(module, "render", dies)
    with pytest.raises(KeyboardInterrupt):
        generate(out, TINY, seed=3, workers=0)
    done = sorted((out / "videos").glob("*.mp4"))
    assert len(done) == 2
    assert not (out / "dataset.json").exists()
    done[0].write_bytes(done[0].read_bytes()[:500])
    (out / "videos/.val_0001.mp4.tmp-0123456789abcdef").write_bytes(b"half")

    calls.clear()
    monkeypatch.setattr(module, "render", lambda script: calls.append(script) or render(script))
    assert generate(out, TINY, seed=3, workers=0)
    assert len(calls) == 4  # the damaged one and the three that were missing
    assert contents(out) == contents(tiny)


def test_damaged_set_is_made_again(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    generate(out, TINY, seed=3, workers=0)
    (out / "val.csv").write_text("")
    assert generate(out, TINY, seed=3, workers=0)
    assert contents(out) == contents(tiny)


def test_another_set_is_replaced_only_when_asked(tmp_path: Path) -> None:
    small = replace(TINY, train_videos=1, val_videos=1)
    generate(tmp_path, TINY, workers=0)
    with pytest.raises(UserError, match="other parameters.*--overwrite"):
        generate(tmp_path, small, workers=0)
    assert generate(tmp_path, small, workers=0, overwrite=True)
    assert sorted(p.name for p in (tmp_path / "videos").iterdir()) == ["train_0000.mp4", "val_0000.mp4"]


def test_leftovers_of_an_unfinished_other_set_go(tmp_path: Path) -> None:
    out, parts = tmp_path / "set", tmp_path / "set/.parts-other"
    parts.mkdir(parents=True)
    (out / "videos").mkdir()
    (parts / "train_0099.json").write_text("{}")
    (out / "videos/train_0099.mp4").write_bytes(b"old")
    small = replace(TINY, train_videos=1, val_videos=0)
    generate(out, small, workers=0)
    assert not parts.exists()
    assert [p.name for p in (out / "videos").iterdir()] == ["train_0000.mp4"]


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("mine")
    with pytest.raises(UserError, match="contains files, but no puppets set"):
        generate(tmp_path, TINY, workers=0, overwrite=True)
    assert contents(tmp_path) == {"train.csv": b"mine"}


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"fingerprint": "x"}'])
def test_a_manifest_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match="contains files, but no puppets set"):
        generate(tmp_path, TINY, workers=0, overwrite=True)
    assert contents(tmp_path) == {"dataset.json": content.encode()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 2}, "fps is 2"),
        ({"frame_width": 65}, "frame_width is 65"),
        ({"min_people": 0}, "min_people is 0"),
        ({"max_people": 0}, "max_people is 0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"max_figure": 0.2}, "max_figure is 0.2"),
        ({"texture_contrast": 2}, "texture_contrast is 2"),
    ],
)
def test_impossible_parameters(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(TINY, **change)


def test_negative_seed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed and workers must be 0 or more, but are -1 and 0"):
        generate(tmp_path / "set", TINY, seed=-1, workers=0)
    assert not (tmp_path / "set").exists()


def test_command_line(root: Path, tmp_path: Path) -> None:
    command = [root / "datasets/prepare_puppets.py", "--out", tmp_path / "set"]
    command += ["--train-videos", "2", "--val-videos", "1", "--frame-width", "64", "--frame-height", "48"]
    command += ["--seconds", "2", "--workers", "0", "--seed", "7"]
    sheet = tmp_path / "sheet.png"
    done = run_program([*command, "--contact-sheet", sheet])
    assert done.returncode == 0, done.stderr
    assert "written" in done.stdout and str(sheet) in done.stdout
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    again = run_program(command)
    assert again.returncode == 0 and "kept" in again.stdout
    wrong = run_program([*command, "--fps", "1"])
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: puppets: fps is 1") and "Traceback" not in wrong.stderr


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "folder itself"])
def test_a_received_set_deletes_nothing_outside_its_folder(tmp_path: Path, kind: str) -> None:
    """Names in its manifest may lead anywhere."""
    out, precious = tmp_path / "set", tmp_path / "precious"
    out.mkdir()
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    (out / "videos").symlink_to(precious)
    (out / "own.txt").write_text("of the set")
    name = {
        "parent": "../precious/thesis.txt",
        "absolute": str(precious / "thesis.txt"),
        "link": "videos/thesis.txt",
        "folder itself": ".",
    }[kind]
    manifest = {"fingerprint": "x", "seed": 0, "files": {"own.txt": "0", name: "0"}}
    (out / "dataset.json").write_text(json.dumps(manifest))
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"dataset\.json names .* which is not a file inside .*set"):
        generate(out, TINY, seed=3, workers=0, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("video", ["../../thesis", "/thesis"])
def test_an_unfinished_set_deletes_nothing_outside_its_folder(tmp_path: Path, video: str) -> None:
    (tmp_path / "thesis.mp4").write_text("years of work")
    parts = tmp_path / "set" / ".parts-0123456789abcdef"
    parts.mkdir(parents=True)
    name = video.replace("/thesis", str(tmp_path / "thesis")) if video[0] == "/" else video
    (parts / "train_0000.json").write_text(json.dumps({"truth": {"video": name}}))
    with pytest.raises(UserError, match="which is not a file inside"):
        generate(tmp_path / "set", TINY, seed=3, workers=0)
    assert (tmp_path / "thesis.mp4").exists()


def test_odd_leftovers_are_cleared(tmp_path: Path) -> None:
    tiny = replace(TINY, train_videos=1, val_videos=1, seconds=2)
    parts = tmp_path / "set" / ".parts-0123456789abcdef"
    parts.mkdir(parents=True)
    for number, content in enumerate(('{"truth": 3}', '{"truth": []}', "[]")):
        (parts / f"train_{number:04d}.json").write_text(content)
    assert generate(tmp_path / "set", tiny, seed=3, workers=0) and not parts.exists()
