"""Datasets by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modist_det.data.catalog import Catalog, DatasetCatalog, data_root
from modist_det.data.datasets import AVADataset, ClassificationDataset
from modist_det.utils.errors import UserError


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty data root."""
    monkeypatch.setenv("MODIST_DATASETS", str(tmp_path))
    return tmp_path


def make_ava(
    data: Path, videos: str, version: str = "2.2", label_map: str = "v2.2_for_activitynet_2019"
) -> None:
    annotations = data / "ava" / "annotations"
    annotations.mkdir(parents=True)
    (data / "ava" / videos).mkdir()
    (annotations / f"ava_val_v{version}.csv").write_text(
        "film,0902,0.1,0.1,0.5,0.5,80,0\nfilm,0903,0.1,0.1,0.5,0.5,12,0\n"
    )
    (annotations / f"ava_val_excluded_timestamps_v{version}.csv").write_text("film,0903\n")
    (annotations / f"ava_action_list_{label_map}.pbtxt").write_text('item { name: "stand" id: 12 }\n')


def test_names() -> None:
    assert {
        "ava_v2.1_train",
        "ava_v2.1_val",
        "ava_v2.2_train",
        "ava_v2.2_val",
        "puppets_train",
        "puppets_val",
    } <= set(DatasetCatalog.list())


def test_root(monkeypatch, root, data) -> None:
    assert data_root() == data
    monkeypatch.delenv("MODIST_DATASETS")
    assert data_root() == root / "datasets"


def test_root_of_an_installed_package_is_the_current_folder(monkeypatch, tmp_path) -> None:
    """In site-packages "datasets" is Hugging Face's package."""
    monkeypatch.delenv("MODIST_DATASETS", raising=False)
    package = tmp_path / "site-packages" / "modist_det" / "data" / "catalog.py"
    (tmp_path / "site-packages" / "datasets").mkdir(parents=True)
    (tmp_path / "site-packages" / "datasets" / "__init__.py").touch()
    monkeypatch.setattr("modist_det.data.catalog.__file__", str(package))
    assert data_root() == Path("datasets")
    monkeypatch.setenv("MODIST_DATASETS", "")  # as good as unset
    assert data_root() == Path("datasets")


@pytest.mark.parametrize(("videos", "time"), [("frames", 2.0), ("videos_15min", 2.0), ("videos", 902.0)])
def test_ava_from_frames_or_videos(data, videos, time) -> None:
    make_ava(data, videos)
    (data / "ava" / videos / "film").mkdir()
    dataset = DatasetCatalog.get("ava_v2.2_val")
    assert dataset.metadata.num_classes == 80
    (record,) = dataset.records()
    assert (record.id, record.time, record.actions) == ("film,0902", time, ((80,),))


def test_ava_v21_has_its_own_files(data) -> None:
    make_ava(data, "frames", "2.1", "v2.1_for_activitynet_2018")
    assert DatasetCatalog.get("ava_v2.1_val").annotations.endswith("ava_val_v2.1.csv")
    with pytest.raises(UserError, match="ava_val_v2.2.csv"):
        DatasetCatalog.get("ava_v2.2_val")


def test_person_boxes_of_ava(data) -> None:
    make_ava(data, "frames")
    (data / "ava" / "frames" / "film").mkdir()
    folder = data / "ava" / "annotations" / "person_box_67091280_iou90"
    with pytest.raises(UserError, match="ava_detection_val_boxes_and_labels.csv"):
        DatasetCatalog.get("ava_v2.2_val").records("detected")
    folder.mkdir()
    (folder / "ava_detection_val_boxes_and_labels.csv").write_text("film,0902,0.1,0.1,0.5,0.5,,0.98\n")
    (record,) = DatasetCatalog.get("ava_v2.2_val").records("detected")
    assert record.scores.tolist() == pytest.approx([0.98])


def test_absent_ava_is_one_message_that_says_all(data) -> None:
    with pytest.raises(UserError) as caught:
        DatasetCatalog.get("ava_v2.2_train")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        str(data / "ava"),
        "annotations/ava_train_v2.2.csv",
        "annotations/ava_action_list_v2.2_for_activitynet_2019.pbtxt",
        "annotations/ava_train_excluded_timestamps_v2.2.csv",
        "ava_detection_train_boxes_and_labels_include_negative_v2.2.csv",
        "frames, videos_15min, videos",
        "datasets/README.md",
        "python datasets/prepare_puppets.py",
        "python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml",
    ):
        assert part in message


def test_absent_puppets(data) -> None:
    with pytest.raises(UserError, match="train.yaml is missing; run python datasets/prepare_puppets.py"):
        DatasetCatalog.get("puppets_train")


def test_unknown_name() -> None:
    with pytest.raises(UserError, match=r"no dataset named 'ava_2.2_val'; did you mean 'ava_v2.2_val'"):
        DatasetCatalog.get("ava_2.2_val")


def test_register(tmp_path) -> None:
    catalog = Catalog()
    catalog.register("mine", lambda: AVADataset("mine", tmp_path, "labels.pbtxt", annotations="boxes.csv"))
    assert catalog.list() == ["mine"] and catalog.get("mine").name == "mine"
    with pytest.raises(ValueError, match="'mine' is registered twice"):
        catalog.register("mine", lambda: None)


def test_a_dataset_of_another_kind(tmp_path) -> None:
    catalog = Catalog()
    catalog.register("mine", lambda: AVADataset("mine", tmp_path, "labels.pbtxt", annotations="boxes.csv"))
    assert isinstance(catalog.get_as("mine", AVADataset, "needs boxes"), AVADataset)
    with pytest.raises(UserError, match="^dataset mine is a AVADataset; TASK x needs classes$"):
        catalog.get_as("mine", ClassificationDataset, "TASK x needs classes")
    catalog.register("other", lambda: "text")
    with pytest.raises(
        UserError, match="dataset other is a str; it does not list its videos: .*'format: videos'"
    ):
        catalog.videos("other")


def test_description_file(data, tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("format: ava\nvideos: .\nlabel_map: a.pbtxt\nannotations: a.csv\n")
    assert DatasetCatalog.get(path).name == DatasetCatalog.get(str(path)).name == "own"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("format: [ava]", "unknown format"),
        ("videos:", "the key 'videos' is missing"),
        ("videos: []", "'videos' names no folder"),
        ("videos: [null]", "a folder of videos is None, but takes a path"),
        ("annotations: [a.csv]", r"annotations is \['a.csv'\], but takes a path$"),
    ],
)
def test_a_slip_in_a_description_is_named(data, tmp_path, line, message) -> None:
    settings = {"format": "ava", "videos": ".", "label_map": "a.pbtxt", "annotations": "a.csv"}
    key, _, value = line.partition(":")
    settings[key] = value
    path = tmp_path / "own.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in settings.items()))
    with pytest.raises(UserError, match=message) as caught:
        DatasetCatalog.get(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_name_of_digits_is_text(data, tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("format: ava\nname: 2024\nvideos: .\nlabel_map: a.pbtxt\nannotations: a.csv\n")
    assert DatasetCatalog.get(path).name == "2024"
