"""Sets of single actions: what is done, and that all formats say the same."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from modist_det.data.datasets import load_description
from modist_det.puppets import CLASS_NAMES, POSES, PRESETS, PuppetsParams, generate
from modist_det.utils.errors import UserError

SPLITS = {"train": ("trainlist01.txt", 24), "val": ("testlist01.txt", 12)}


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def folder(tiny_actions):
    return tiny_actions / "puppets_actions"


@pytest.mark.parametrize("split", SPLITS)
def test_all_files_agree_on_what_a_video_shows(folder, split):
    file, count = SPLITS[split]
    ids = {
        title.lower(): int(n) for n, title in map(str.split, lines(folder / "ucfTrainTestlist/classInd.txt"))
    }
    assert ids == {name: number for number, name in CLASS_NAMES.items()}
    tracks = {v["video"]: v for v in json.loads((folder / f"tracks_{split}.json").read_text())["videos"]}
    listed = lines(folder / "ucfTrainTestlist" / file)
    kinetics = dict(line.rsplit(" ", 1) for line in lines(folder / f"kinetics_{split}.csv"))
    with (folder / f"{split}.csv").open(newline="") as text:
        ava = {(row[0], int(row[6])) for row in csv.reader(text) if len(row) > 2}
    assert len(listed) == len(kinetics) == len(tracks) == count
    for line in listed:
        path, _, number = line.partition(" ")
        action = path.split("/")[0].lower()
        assert (folder / "videos" / path).is_file()
        assert number == (str(ids[action]) if split == "train" else "")
        assert int(kinetics[f"videos/{path}"]) == ids[action] - 1
        (person,) = tracks[path.removesuffix(".mp4")]["people"]
        (segment,) = person["segments"]
        expected = [action] if action in POSES else ["stand", action]
        assert segment["actions"] == [ids[name] for name in expected]
        assert all((path.removesuffix(".mp4"), ids[name]) in ava for name in expected)


def test_classes_are_equally_many_and_no_group_is_in_both_splits(folder):
    groups = {}
    for split, (file, count) in SPLITS.items():
        names = [line.split()[0] for line in lines(folder / "ucfTrainTestlist" / file)]
        per_class = [name.split("/")[0] for name in names]
        assert all(per_class.count(title) == count // 12 for title in set(per_class))
        groups[split] = {name.split("_")[-2] for name in names}
    assert not groups["train"] & groups["val"]


def test_the_readers_of_ucf101_and_ava_read_it(folder, tmp_path):
    description = tmp_path / "ucf.yaml"
    description.write_text(
        f"format: ucf101\nvideos: {folder}/videos\nannotations: {folder}/ucfTrainTestlist\nsubset: test\n"
    )
    records = load_description(description).records()
    assert sorted(label for record in records for label in record.labels) == list(range(12))
    assert len(load_description(folder / "val.yaml").records("ground_truth")) == 12  # a keyframe each


def test_numbers_of_groups_do_not_collide_where_a_round_is_incomplete(tmp_path):
    params = replace(
        PRESETS["actions"], train_videos=13, val_videos=1, frame_width=32, frame_height=32, seconds=2.0
    )
    generate(tmp_path / "set", params, workers=0)
    names = {path.name for path in (tmp_path / "set/videos").rglob("*.mp4")}
    assert {"v_Stand_g01_c01.mp4", "v_Stand_g02_c01.mp4", "v_Stand_g03_c01.mp4"} <= names
    assert len(names) == 14


def test_replacing_a_set_of_actions_leaves_nothing_of_it(tmp_path):
    params = replace(
        PRESETS["actions"], train_videos=2, val_videos=1, frame_width=32, frame_height=32, seconds=2.0
    )
    generate(tmp_path / "set", params, workers=0)
    scenes = PuppetsParams(train_videos=1, val_videos=1, frame_width=32, frame_height=32, seconds=2.0)
    with pytest.raises(UserError, match="--overwrite"):
        generate(tmp_path / "set", scenes, workers=0)
    generate(tmp_path / "set", scenes, workers=0, overwrite=True)
    files = {path.name for path in (tmp_path / "set").rglob("*") if path.is_file()}
    assert "classInd.txt" not in files and {"train_0000.mp4", "val_0000.mp4"} <= files
    assert not [name for name in files if name.startswith("v_")]


def test_several_people_cannot_share_one_action():
    with pytest.raises(UserError, match="max_people"):
        PuppetsParams(single_action=True)
