"""What a folder holds is recognized, described and split."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from modist_det.app.find_data import find_data
from modist_det.data.catalog import DatasetCatalog
from modist_det.utils.errors import UserError


def put(clip, folder, *names):
    for name in names:
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    return folder


def ids(path):
    return {record.video_id for record in DatasetCatalog.get(path).records()}


def test_a_folder_per_class(clip, tmp_path):
    data = put(clip, tmp_path / "d", *(f"run/r{i}" for i in range(5)), *(f"walk/w {i}" for i in range(10)))
    found = find_data(str(data), tmp_path / "out")
    assert found.task == "classification" and found.size == 12
    train, val = ids(found.train), ids(found.val)
    assert not train & val and len(train | val) == 15
    assert sorted(name.split("/")[0] for name in val) == ["run", "walk", "walk"]
    assert DatasetCatalog.get(found.val).metadata.class_names == ("run", "walk")
    assert {path.name for path in data.iterdir()} == {"run", "walk"}  # nothing is written there


def test_train_and_val_share_their_classes(clip, tmp_path):
    data = put(clip, tmp_path / "d", "Train/a/1", "Train/b/2", "Train/c/3", "valid/a/4", "valid/d/5")
    found = find_data(str(data), tmp_path / "out")
    names = [DatasetCatalog.get(path).metadata.class_names for path in (found.train, found.val)]
    assert names == [("a", "b", "c", "d")] * 2 and found.size == 3
    assert [record.labels for record in DatasetCatalog.get(found.val).records()] == [(0,), (3,)]


def test_the_seed_chooses_the_split(clip, tmp_path):
    classes = put(clip, tmp_path / "c", *(f"{name}/{i}" for name in ("run", "walk") for i in range(5)))
    boxes = put(clip, tmp_path / "b", *(f"v{i}" for i in range(5)))
    (boxes / "boxes.csv").write_text("".join(f"v{i},0,0.1,0.1,0.5,0.9,1\n" for i in range(5)))
    for data in (classes, boxes):
        found = [ids(find_data(str(data), tmp_path / "out", seed=seed).val) for seed in (0, 0, 1, 2, 3)]
        assert found[0] == found[1] and any(other != found[0] for other in found[2:])


def test_a_class_of_one_video_is_a_warning(clip, tmp_path, caplog):
    data = put(clip, tmp_path / "d", "run/r", *(f"walk/w{i}" for i in range(5)))
    find_data(str(data), tmp_path / "out")
    assert "1 of 2 classes are there for training only" in caplog.text and "run" in caplog.text


def test_annotations_that_cannot_be_used_are_named(clip, tmp_path, caplog):
    data = put(clip, tmp_path / "d", "a")
    (data / "boxes.csv").write_text("a,0,10,20,30,40,1\n")  # in pixels
    (data / "tubes.json").write_text('{"a": {"tubes": [')
    assert find_data(str(data), tmp_path / "out").task == "pretraining"
    assert "the videos count as unlabelled: " in caplog.text
    assert f"{data / 'boxes.csv'} is not in AVA's style" in caplog.text
    assert f"{data / 'tubes.json'} is not JSON" in caplog.text


def test_one_description_of_boxes_is_split(clip, tmp_path):
    data = put(clip, tmp_path / "d", *(f"v{i}" for i in range(5)))
    (data / "boxes.csv").write_text("".join(f"v{i},0,0.1,0.1,0.5,0.9,1\n" for i in range(5)))
    (data / "names.pbtxt").write_text('item { name: "run" id: 1 }\n')
    text = "format: ava\nvideos: d\nannotations: d/boxes.csv\nlabel_map: d/names.pbtxt\n"
    (tmp_path / "d.yaml").write_text(text)
    found = find_data(str(tmp_path / "d.yaml"), tmp_path / "out")
    assert found.task == "detection" and len(ids(found.train)) == 4 and len(ids(found.val)) == 1


def test_videos_and_a_csv(clip, tmp_path, caplog):
    data = put(clip, tmp_path / "d", *(f"videos/v{i}" for i in range(5)))
    rows = [f"v{i},{s},0.1,0.1,0.5,0.9,{3 + 4 * (i % 2)}\n" for i in range(6) for s in (0, 1)]
    (data / "boxes.csv").write_text("".join(rows))
    (data / "notes.csv").write_text("video,remark,x,y,z,u,v\na,b,c,d,e,f,g\n")
    found = find_data(str(data), tmp_path / "out")
    assert found.task == "detection" and found.size == 8
    assert "no label map" in caplog.text
    train, val = (DatasetCatalog.get(path) for path in (found.train, found.val))
    assert train.metadata.class_names == val.metadata.class_names == {3: "class 3", 7: "class 7"}
    assert len(val.records()) == 2  # v5 is missing, so it stays out of the validation
    assert find_data(str(data), tmp_path / "again").size == 8


def test_csvs_for_both_parts(clip, tmp_path):
    data = put(clip, tmp_path / "d", "a", "b")
    (data / "train.csv").write_text("a,0,0.1,0.1,0.5,0.9,1\na,1,0.1,0.1,0.5,0.9,2\n")
    (data / "val.csv").write_text("b,1,0.1,0.1,0.5,0.9,1\n")
    (data / "names.pbtxt").write_text('item { name: "run" id: 1 }\nitem { name: "walk" id: 2 }\n')
    found = find_data(str(data), tmp_path / "out")
    assert (ids(found.train), ids(found.val)) == ({"a"}, {"b"})
    assert DatasetCatalog.get(found.val).metadata.class_names == {1: "run", 2: "walk"}


def test_videos_alone(clip, tmp_path):
    data = put(clip, tmp_path / "d", "a", "x/b", "x/c")
    assert find_data(str(data), tmp_path / "out").task == "pretraining"
    classes = put(clip, tmp_path / "e", "a/1", "b/2")
    found = find_data(str(classes), tmp_path / "out2", "pretraining")
    assert found.size == 2 and found.val == ""


def test_descriptions(clip, tmp_path):
    data = put(clip, tmp_path / "d", "a/1", "b/2")
    for name in ("t", "v"):
        (tmp_path / f"{name}.yaml").write_text("format: class_folders\nvideos: d\n")
    found = find_data(f"{tmp_path}/t.yaml,{tmp_path}/v.yaml", tmp_path / "out")
    assert (found.train, found.val, found.size) == (f"{tmp_path}/t.yaml", f"{tmp_path}/v.yaml", 2)
    with pytest.raises(UserError, match="also name the one for validation"):
        find_data(f"{tmp_path}/t.yaml", tmp_path / "out")
    with pytest.raises(UserError, match="which is for --task classification, not detection"):
        find_data(str(data), tmp_path / "out3", "detection")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is not recognized: give"),
        (["one.csv", "two.csv"], "has 2 csv files of boxes: one.csv, two.csv; leave one"),
        (["one.csv", "a.pbtxt", "b.pbtxt"], "has 2 label maps: a.pbtxt, b.pbtxt; leave one"),
    ],
)
def test_what_is_not_clear_is_asked(tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text("a,0,0.1,0.1,0.5,0.9,1\n")
    with pytest.raises(UserError, match=message):
        find_data(str(tmp_path), tmp_path / "out")


def test_places_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match="names 3 datasets"):
        find_data("a,b,c", tmp_path / "out")
    with pytest.raises(UserError, match="the data has no name; give a folder"):
        find_data("", tmp_path / "out")
    with pytest.raises(UserError, match="no dataset named 'nowhere' .there is no such folder or file either"):
        find_data("nowhere", tmp_path / "out")
    with pytest.raises(UserError, match="would be written into it; choose another --out"):
        find_data(str(tmp_path), tmp_path)


def tubes_file(path, videos):
    """JSON: in each video one person does ``videos[name]`` for 20 frames."""
    boxes = [[0.1, 0.1, 0.4, 0.9]] * 20
    tube = {"start_frame": 0, "end_frame": 20, "boxes": boxes}
    size = {"width": 64, "height": 48, "fps": 10.0, "num_frames": 20}
    content = {name: {**size, "tubes": [{**tube, "label": label}]} for name, label in videos.items()}
    path.write_text(json.dumps(content))


def test_videos_with_tubes(clip, tmp_path):
    """Each class is in both parts, every fifth frame is a keyframe, and a missing video does not count."""
    videos = {f"{label}{i}": label for label in ("run", "walk") for i in range(5)}
    data = put(clip, tmp_path / "d" / "videos", *videos).parent
    tubes_file(data / "tubes.json", videos | {"gone": "run"})
    (data / "notes.json").write_text('{"of": "somebody"}')
    found = find_data(str(data), tmp_path / "out")
    assert found.task == "detection" and "split by video (8 for train and 2 for val)" in found.kind
    assert found.size == 8 * 4
    train, val = ids(found.train), ids(found.val)
    assert train | val == set(videos) and not train & val
    assert {name[:-1] for name in train} == {name[:-1] for name in val} == {"run", "walk"}
    assert DatasetCatalog.get(found.val).metadata.class_names == {1: "run", 2: "walk"}


def test_the_split_of_a_file_of_tubes_is_taken(clip, tmp_path):
    data = put(clip, tmp_path / "d", "a", "b", "c")
    box = np.tile(np.float32([1, 5, 5, 30, 40]), (20, 1))
    box[:, 0] = np.arange(1, 21)
    names = ["a", "b", "c"]
    content = {
        "labels": ["jump"],
        "gttubes": {name: {0: [box]} for name in names},
        "nframes": dict.fromkeys(names, 20),
        "resolution": dict.fromkeys(names, (48, 64)),
        "train_videos": [["a", "c"]],
        "test_videos": [["b"]],
    }
    (data / "GT.pkl").write_bytes(pickle.dumps(content))
    found = find_data(str(data), tmp_path / "out")
    assert (ids(found.train), ids(found.val)) == ({"a", "c"}, {"b"})


def test_ambiguous_tubes(clip, tmp_path):
    data = put(clip, tmp_path / "d", "a")
    tubes_file(data / "x.json", {"a": "run", "b": "run"})
    with pytest.raises(UserError, match="has 1 of the videos of .*x.json; a split needs two"):
        find_data(str(data), tmp_path / "out")
    tubes_file(data / "y.json", {"a": "run"})
    with pytest.raises(UserError, match="2 files of tubes: x.json, y.json; leave one"):
        find_data(str(data), tmp_path / "out")
