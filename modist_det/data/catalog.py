"""Datasets by name, or by the path of a description file.

Names are looked up under the data root: ``$MODIST_DATASETS`` if set, otherwise the checkout's ``datasets`` folder, or
for an installed package ``datasets`` in the current folder.
``datasets/README.md`` lists the folder layout of each name.

Example::

    dataset = DatasetCatalog.get("ava_v2.2_val")
    dataset = DatasetCatalog.get("datasets/mine/train.yaml")
    DatasetCatalog.register("mine", lambda: AVADataset("mine", videos="/data/clips", annotations="mine.csv"))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..core import Key, ListOf, add_section
from ..utils.errors import UserError, nearest
from ..utils.text_files import expand_user
from .datasets import (
    AVADataset,
    HMDB51Dataset,
    KineticsDataset,
    SSv2Dataset,
    TubesDataset,
    UCF101Dataset,
    load_description,
)
from .datasets.ava import PERSON_SCORE_THRESH
from .datasets.records import VideoRecord

__all__ = ["DatasetCatalog", "data_root"]

add_section(
    "DATASETS",
    # Names of the catalogue, or paths of dataset description files (*.yaml; datasets/README.md).
    TRAIN=Key([], ListOf(str)),
    TEST=Key([], ListOf(str)),
    # Pretraining: labelled datasets in which the videos of TEST look for their nearest neighbours.
    GALLERY=Key([], ListOf(str)),
    # Person boxes: "ground_truth", "detected" (the dataset's person boxes) or "both".
    TRAIN_BOXES="ground_truth",
    TEST_BOXES="ground_truth",
    PERSON_SCORE_THRESH=PERSON_SCORE_THRESH,  # minimum score of detected boxes
)

_WITHOUT_DATA = (
    "Puppets needs no download: python datasets/prepare_puppets.py && "
    "python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml"
)


def data_root() -> Path:
    """``$MODIST_DATASETS``, or the ``datasets`` folder of the checkout, or (installed) that of the current folder."""
    if named := os.environ.get("MODIST_DATASETS"):
        return expand_user(named)
    checkout = Path(__file__).resolve().parents[2]
    # An installed package lies in site-packages, where "datasets" is another project's package.
    is_checkout = (checkout / "setup.py").is_file() and (checkout / "datasets" / "prepare_ava.py").is_file()
    return checkout / "datasets" if is_checkout else Path("datasets")


_Contract = TypeVar("_Contract")


@runtime_checkable
class ListsVideos(Protocol):
    """A dataset that can be used for pretraining."""

    def video_records(self) -> Sequence[VideoRecord]:
        """Each video once, without annotations."""


class Catalog:
    """Maps names to functions that create the dataset on request."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], Any]] = {}

    def register(self, name: str, factory: Callable[[], Any]) -> None:
        """Add ``name``; names must be unique."""
        if name in self._factories:
            raise ValueError(f"the dataset {name!r} is registered twice")
        self._factories[name] = factory

    def list(self) -> Sequence[str]:
        """All registered names."""
        return sorted(self._factories)

    def get(self, name: str | os.PathLike) -> Any:
        """The dataset with this name or description file (``*.yaml``, ``*.yml``).

        Raises:
            UserError: the name is unknown, or files of the dataset are missing.
        """
        name = os.fspath(name)
        if name in self._factories:
            return self._factories[name]()
        if Path(name).suffix.lower() in (".yaml", ".yml"):
            return load_description(name)
        exists = (
            "it is no description file" if Path(name).exists() else "there is no such folder or file either"
        )
        raise UserError(
            f"there is no dataset named {name!r}{nearest(name, self._factories)} "
            f"({exists}; names are {', '.join(self.list())}; or give the path of a description file, *.yaml)"
        )

    def get_as(self, name: str | os.PathLike, contract: type[_Contract], needs: str) -> _Contract:
        """The dataset with this name, checked against a base class or protocol.

        Args:
            needs: the end of the error message, such as "TASK detection needs keyframes with person boxes".

        Raises:
            UserError: as :meth:`get`, or the dataset is of another kind.
        """
        dataset = self.get(name)
        if not isinstance(dataset, contract):
            raise UserError(f"dataset {name} is a {type(dataset).__name__}; {needs}")
        return dataset

    def videos(self, name: str | os.PathLike) -> Sequence[VideoRecord]:
        """Each video of the dataset once, without annotations.

        Raises:
            UserError: as :meth:`get`, or the dataset does not list its videos.
        """
        needs = "it does not list its videos: name their folder in a description file with the lines "
        needs += "'format: videos' and 'videos: FOLDER'"
        return self.get_as(name, ListsVideos, needs).video_records()


def _ava(name: str, split: str, label_map: str, version: str, person_boxes: str) -> AVADataset:
    root = data_root() / "ava"
    annotations = root / "annotations"
    ground_truth = annotations / f"ava_{split}_v{version}.csv"
    exclusions = annotations / f"ava_{split}_excluded_timestamps_v{version}.csv"
    required = (ground_truth, annotations / label_map, exclusions)
    # Frame folders and cut clips begin at second 900 of the movie, whole movies at 0.
    starts = {"frames": 900.0, "videos_15min": 900.0, "videos": 0.0}
    folder = next((folder for folder in starts if (root / folder).is_dir()), None)
    missing = [str(path.relative_to(root)) for path in required if not path.is_file()]
    if folder is None:
        missing.append("one of the folders " + ", ".join(starts))
    if missing:
        if not (annotations / person_boxes).is_file():
            missing.append(f"annotations/{person_boxes} (for detected person boxes)")
        raise UserError(
            f"dataset {name!r} is not in {root}: missing {'; '.join(missing)}. How to get them: section AVA of "
            f"datasets/README.md ($MODIST_DATASETS names another data root). {_WITHOUT_DATA}"
        )
    assert folder is not None
    return AVADataset(
        name,
        videos=root / folder,
        label_map=annotations / label_map,
        annotations=ground_truth,
        person_boxes=annotations / person_boxes,
        exclusions=exclusions,
        first_second=starts[folder],
        num_classes=80,  # the label map names the 60 that are evaluated
    )


def _puppets(name: str, split: str) -> Any:
    description = data_root() / "puppets" / f"{split}.yaml"
    if not description.is_file():
        raise UserError(
            f"dataset {name!r} has not been generated: {description} is missing; "
            "run python datasets/prepare_puppets.py"
        )
    return load_description(description)


def _puppets_actions(name: str, subset: str) -> UCF101Dataset:
    root = data_root() / "puppets_actions"
    if not root.is_dir():
        raise UserError(
            f"dataset {name!r} has not been generated: {root} is missing; "
            "run python datasets/prepare_puppets.py --preset actions"
        )
    return UCF101Dataset(name, root / "videos", root / "ucfTrainTestlist", subset)


def _ucf101(name: str, split: int, subset: str) -> UCF101Dataset:
    root = data_root() / "ucf101"
    _require(name, root, "UCF101", [root / "ucfTrainTestlist" / "classInd.txt", root / "videos"])
    return UCF101Dataset(name, root / "videos", root / "ucfTrainTestlist", subset, split)


def _hmdb51(name: str, split: int, subset: str) -> HMDB51Dataset:
    root = data_root() / "hmdb51"
    annotations = root / "testTrainMulti_7030_splits"
    _require(name, root, "HMDB51", [annotations, root / "videos"])
    return HMDB51Dataset(name, root / "videos", annotations, subset, split)


def _ssv2(name: str, subset: str) -> SSv2Dataset:
    root = data_root() / "ssv2"
    annotations, labels = (
        root / "annotations" / f"something-something-v2-{part}.json" for part in (subset, "labels")
    )
    _require(name, root, "Something-Something v2", [annotations, labels, root / "videos"])
    return SSv2Dataset(name, root / "videos", annotations, labels)


def _kinetics(name: str, classes: int, split: str) -> KineticsDataset:
    root = data_root() / f"kinetics{classes}"
    annotations = root / "annotations"
    _require(
        name,
        root,
        "Kinetics",
        [annotations / f"{split}.csv", annotations / "train.csv", root / "videos" / split],
    )
    return KineticsDataset(
        name, root / "videos" / split, annotations / f"{split}.csv", classes=annotations / "train.csv"
    )


# Folder below the data root, section of datasets/README.md, annotation files (the first that exists), number of splits.
_TUBES = {
    "ucf24": ("ucf101_24", "UCF101-24", ("UCF101v2-GT.pkl", "pyannot.pkl", "finalAnnots.mat"), 1),
    "jhmdb": ("jhmdb", "JHMDB", ("JHMDB-GT.pkl",), 3),
    "multisports": ("multisports", "MultiSports", ("multisports_GT.pkl", "trainval.pkl"), 1),
}


def _tubes(name: str, dataset: str, split: int, subset: str) -> TubesDataset:
    folder, section, files, _ = _TUBES[dataset]
    root = data_root() / folder
    annotations = next((root / file for file in files if (root / file).is_file()), root / files[0])
    required = [annotations, root / "videos"]
    lists = None
    if annotations.name in ("pyannot.pkl", "finalAnnots.mat"):
        lists = root / "splitfiles" / f"{subset}list{split:02d}.txt"
        required.append(lists)
    _require(name, root, section, required)
    return TubesDataset(name, root / "videos", annotations, subset, split, lists)


def _ava_kinetics(name: str, split: str) -> AVADataset:
    root = data_root() / "ava_kinetics"
    _require(name, root, "AVA-Kinetics", [root / f"{split}.yaml"])
    dataset: AVADataset = load_description(root / f"{split}.yaml")
    dataset.name = name
    return dataset


def _require(name: str, root: Path, section: str, paths: Sequence[Path]) -> None:
    missing = [str(path.relative_to(root)) for path in dict.fromkeys(paths) if not path.exists()]
    if missing:
        raise UserError(
            f"dataset {name!r} is not in {root}: missing {'; '.join(missing)}. How to get them: section {section} of "
            "datasets/README.md ($MODIST_DATASETS names another data root)"
        )


DatasetCatalog = Catalog()


def _register_builtin() -> None:
    labels = {
        "2.1": "ava_action_list_v2.1_for_activitynet_2018.pbtxt",
        "2.2": "ava_action_list_v2.2_for_activitynet_2019.pbtxt",
    }
    person_boxes = {
        ("2.1", "train"): "ava_train_predicted_boxes.csv",
        ("2.1", "val"): "ava_val_predicted_boxes.csv",
        ("2.2", "train"): "person_box_67091280_iou90/"
        "ava_detection_train_boxes_and_labels_include_negative_v2.2.csv",
        ("2.2", "val"): "person_box_67091280_iou90/ava_detection_val_boxes_and_labels.csv",
    }
    for (version, split), boxes in person_boxes.items():
        name = f"ava_v{version}_{split}"
        factory = partial(_ava, name, split, label_map=labels[version], version=version, person_boxes=boxes)
        DatasetCatalog.register(name, factory)
    for split in ("train", "val"):
        name = f"ava_kinetics_{split}"
        DatasetCatalog.register(name, partial(_ava_kinetics, name, split))
        name = f"puppets_{split}"
        DatasetCatalog.register(name, partial(_puppets, name, split))
    for subset in ("train", "test"):
        name = f"puppets_actions_{subset}"
        DatasetCatalog.register(name, partial(_puppets_actions, name, subset))
        for number in (1, 2, 3):
            name = f"ucf101_split{number}_{subset}"
            DatasetCatalog.register(name, partial(_ucf101, name, number, subset))
            name = f"hmdb51_split{number}_{subset}"
            DatasetCatalog.register(name, partial(_hmdb51, name, number, subset))
    for dataset, (_, _, _, splits) in _TUBES.items():
        for number in range(1, splits + 1):
            for subset in ("train", "test"):
                name = f"{dataset}_split{number}_{subset}" if splits > 1 else f"{dataset}_{subset}"
                DatasetCatalog.register(name, partial(_tubes, name, dataset, number, subset))
    for split, subset in (("train", "train"), ("val", "validation")):
        name = f"ssv2_{split}"
        DatasetCatalog.register(name, partial(_ssv2, name, subset))
    for classes in (400, 600, 700):
        for split in ("train", "val"):
            name = f"kinetics{classes}_{split}"
            DatasetCatalog.register(name, partial(_kinetics, name, classes, split))


_register_builtin()
