"""Recognize what a folder of data holds, and describe it in files that every other command takes."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.catalog import DatasetCatalog
from ..data.datasets import AVADataset, ClassificationDataset
from ..data.datasets.ava_prepare import split_dataset, write_description, write_label_map
from ..data.datasets.detection import DetectionDataset
from ..data.datasets.splitting import choose_validation, warn_of_one_sided
from ..data.datasets.tube_annotations import read_tube_annotations
from ..data.datasets.tubes import TubesDataset
from ..data.datasets.video_list import ClassFolders
from ..formats.ava.files import read_ava_boxes
from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..video.listing import VIDEO_EXTENSIONS, extension, scan, walk

__all__ = ["FoundData", "find_data"]

logger = logging.getLogger(__name__)

_TRAIN, _VAL = ("train", "training"), ("val", "validation", "valid", "test")
_VAL_SHARE = 0.2
_TUBE_FRAMES = 5  # a keyframe at every fifth annotated frame; neighbouring frames are near-duplicates
_MAX_MISSING = 0.5  # of the videos in a csv; missing ones are named


@dataclass(frozen=True)
class FoundData:
    """Data that is ready for a config.

    Attributes:
        task: "detection", "classification" or "pretraining".
        train, val: description files or catalogue names; ``val`` is empty for pretraining.
        kind: what was recognized, in words.
    """

    task: str
    train: str
    val: str
    kind: str

    @cached_property
    def size(self) -> int:
        """Number of training videos, or keyframes for detection.

        Raises:
            UserError: annotations cannot be read, or videos are missing.
        """
        if self.task == "pretraining":
            return len(DatasetCatalog.videos(self.train))
        return len(DatasetCatalog.get(self.train).records())


def find_data(where: str, folder: Path, task: str | None = None, seed: int = 0) -> FoundData:
    """Recognize the data and write what describes it into ``folder``, replacing files of an earlier attempt; the data
    itself is not changed.

    Recognized are:

    - ``train`` and ``val`` (or ``test``), each with a folder per class;
    - a folder per class: a fifth of each class is taken for validation;
    - videos with a csv in AVA's style, ``video,second,x1,y1,x2,y2,action``: ``train.csv`` and ``val.csv``, or one
      that is split by video; with class names in a ``.pbtxt``, or without;
    - videos with a file of tubes (:func:`~modist_det.data.datasets.tube_annotations.read_tube_annotations`), whose
      split is taken if it has one;
    - videos alone;
    - a description file, or the name of a dataset.

    Args:
        where: folder, description file (``.yaml``) or catalogue name; ``TRAIN,VAL`` for two of them.
        folder: for description files, lists and splits.
        task: what to train; None: what the data is for. ``"pretraining"`` takes any videos.
        seed: of splits.

    Raises:
        UserError: nothing there is recognized, or it is not for ``task``.
    """
    if not where:
        raise UserError("the data has no name; give a folder, a description file or a dataset name")
    if Path(where).resolve() == folder.resolve():
        raise UserError(f"what describes the data {where} would be written into it; choose another --out")
    if task == "pretraining" and Path(where).is_dir():
        found = _unlabelled(Path(where), folder)
    elif Path(where).is_dir():
        found = _in_folder(Path(where), folder, seed)
    else:
        found = _described(where.split(","), folder, seed)
    if task is not None and task != found.task:
        raise UserError(f"{where} is {found.kind}, which is for --task {found.task}, not {task}")
    return found


def _in_folder(data: Path, folder: Path, seed: int) -> FoundData:
    csvs, others = _csv_files(data)
    if csvs:
        return _videos_and_csv(data, csvs, folder, seed)
    tubes, damaged = _tube_files(data)
    if tubes:
        return _videos_and_tubes(data, tubes, folder, seed)
    parts = {entry.name.lower(): Path(entry.path) for entry in scan(data) if entry.is_dir()}
    train = next((parts[name] for name in _TRAIN if name in parts), None)
    val = next((parts[name] for name in _VAL if name in parts), None)
    if train is not None and val is not None and _class_folders(train):
        names = sorted({*_class_folders(train), *_class_folders(val)})
        _write_lines(folder / "classes.txt", names)
        for part, place in (("train", train), ("val", val)):
            settings = {"videos": place, "classes": folder / "classes.txt"}
            write_description(folder / f"{part}.yaml", settings, format="class_folders", force=True)
        return _two_parts("classification", folder, "train and val, each with a folder per class")
    if len(_class_folders(data)) > 1:
        return _split_classes(data, folder, seed)
    if next((entry for entry, _ in walk(data) if extension(entry.name) in VIDEO_EXTENSIONS), None):
        for reason in (*others, *damaged):
            logger.warning("the videos count as unlabelled: %s", reason)
        return _unlabelled(data, folder)
    raise UserError(
        f"{data} is not recognized: give a folder with a folder of videos per class, such folders in train and val, "
        "videos with a csv in AVA's style (video,second,x1,y1,x2,y2,action) or with a file of tubes, or videos alone"
    )


def _described(names: Sequence[str], folder: Path, seed: int) -> FoundData:
    if len(names) > 2:
        raise UserError(f"--data names {len(names)} datasets; give one, or TRAIN,VAL")
    dataset = DatasetCatalog.get(names[0])
    if isinstance(dataset, DetectionDataset):
        task, kind = "detection", "a detection dataset"
    elif isinstance(dataset, ClassificationDataset):
        task, kind = "classification", "a classification dataset"
    else:
        task, kind = "pretraining", "videos without labels"
    if len(names) == 2 or task == "pretraining":
        return FoundData(task, names[0], names[-1] if len(names) == 2 else "", kind)
    if isinstance(dataset, AVADataset):
        split_dataset(dataset, folder, _VAL_SHARE, seed, force=True)
        return _two_parts("detection", folder, f"{kind}, split by video")
    raise UserError(f"{names[0]} is {kind}; also name the one for validation: --data {names[0]},VAL")


def _videos_and_csv(data: Path, csvs: list[Path], folder: Path, seed: int) -> FoundData:
    parts = {path.stem.lower(): path for path in csvs}
    train = next((parts[name] for name in _TRAIN if name in parts), None)
    val = next((parts[name] for name in _VAL if name in parts), None)
    if len(csvs) > 1 and (train is None or val is None):
        raise UserError(
            f"{data} has {len(csvs)} csv files of boxes: {', '.join(path.name for path in csvs)}; leave one, which is "
            "split, or call two of them train.csv and val.csv"
        )
    maps = sorted(data.glob("*.pbtxt"))
    if len(maps) > 1:
        raise UserError(
            f"{data} has {len(maps)} label maps: {', '.join(path.name for path in maps)}; leave one"
        )
    settings: dict[str, Any] = {
        "videos": _videos_of(data),
        "max_missing": _MAX_MISSING,
    }
    if maps:
        settings["label_map"] = maps[0]
    else:
        used = sorted(
            {number for path in csvs for number in read_ava_boxes(path).action.tolist() if number > 0}
        )
        settings["label_map"] = write_label_map(folder / "label_map.pbtxt", used, force=True)
        logger.warning(
            "%s has no label map (.pbtxt), so classes are called class 1 and so on; edit %s",
            data,
            settings["label_map"],
        )
    if train is not None and val is not None:
        for part, path in (("train", train), ("val", val)):
            write_description(folder / f"{part}.yaml", {**settings, "annotations": path}, force=True)
        return _two_parts("detection", folder, "videos with train.csv and val.csv")
    dataset = AVADataset(data.name, annotations=csvs[0], **settings)
    parts_of = split_dataset(dataset, folder, _VAL_SHARE, seed, force=True)
    counts = " and ".join(f"{len(videos)} for {part}" for part, (_, videos) in parts_of.items())
    return _two_parts("detection", folder, f"videos with a csv of boxes, split by video ({counts})")


def _csv_files(data: Path) -> tuple[list[Path], list[str]]:
    """The csv files of boxes beside the videos, and why others are not."""
    files = [Path(entry.path) for entry in scan(data) if extension(entry.name) == ".csv"]
    found = sorted(path for path in files if _is_ava(path))
    reason = "is not in AVA's style (video,second,x1,y1,x2,y2,action, corners in [0, 1])"
    return found, [f"{path} {reason}" for path in sorted(set(files) - set(found))]


def _tube_files(data: Path) -> tuple[list[Path], list[str]]:
    """The files of tubes beside the videos, and why others are not."""
    found, reasons = [], []
    for entry in sorted(scan(data), key=lambda entry: entry.name):
        if extension(entry.name) in (".json", ".pkl", ".mat"):
            try:
                read_tube_annotations(entry.path)
                found.append(Path(entry.path))
            except UserError as error:  # perhaps something else
                reasons.append(str(error))
    return found, reasons


def _videos_and_tubes(data: Path, files: list[Path], folder: Path, seed: int) -> FoundData:
    if len(files) > 1:
        raise UserError(
            f"{data} has {len(files)} files of tubes: {', '.join(path.name for path in files)}; leave one"
        )
    settings: dict[str, Any] = {"videos": _videos_of(data), "annotations": files[0], "every": _TUBE_FRAMES}
    dataset = TubesDataset(data.name, settings["videos"], files[0])
    annotations = dataset.annotations
    chosen: dict[str, dict[str, Any]]
    if {(1, "train"), (1, "test")} <= annotations.splits.keys():
        chosen = {"train": {"subset": "train"}, "val": {"subset": "test"}}
        kind = "videos with tubes, split as their file says"
    else:
        names = list(dataset.find_videos(list(annotations.videos)))
        if len(names) < 2:
            raise UserError(
                f"{settings['videos']} has {len(names)} of the videos of {files[0]}; a split needs two"
            )
        has_class = np.zeros((len(names), len(annotations.classes)), dtype=bool)
        rows_of = {name: row for row, name in enumerate(names)}
        for tube in annotations.tubes:
            if tube.video in rows_of:
                has_class[rows_of[tube.video], tube.label] = True
        lists = _split_lists(names, has_class, annotations.classes, folder, seed)
        chosen = {part: {"list_file": path} for part, (path, _) in lists.items()}
        counts = " and ".join(f"{count} for {part}" for part, (_, count) in lists.items())
        kind = f"videos with tubes, split by video ({counts})"
    for part, choice in chosen.items():
        write_description(folder / f"{part}.yaml", {**settings, **choice}, format="tubes", force=True)
    return _two_parts("detection", folder, kind)


def _videos_of(data: Path) -> Path:
    return data / "videos" if (data / "videos").is_dir() else data


def _split_classes(data: Path, folder: Path, seed: int) -> FoundData:
    dataset = ClassFolders(data.name, data)
    names = list(dataset.metadata.class_names)
    entries = dataset.entries()
    labels = np.array([entries.labels_of(row)[0] for row in range(len(entries))])
    has_class = np.eye(len(names), dtype=bool)[labels]
    _write_lines(folder / "classes.txt", names)
    rows = [f"{entries.files(row)[0]} {labels[row]}" for row in range(len(entries))]
    for part, (path, _) in _split_lists(rows, has_class, names, folder, seed).items():
        settings = {"videos": data, "annotations": path, "classes": folder / "classes.txt"}
        write_description(folder / f"{part}.yaml", settings, format="video_list", force=True)
    logger.warning(
        "a fifth of the videos of each class is for validation; if several are cut from one film, put films into "
        "folders train and val by hand, since parts of one film in both make the result too good"
    )
    return _two_parts("classification", folder, "a folder per class, split by class")


def _split_lists(
    lines: Sequence[str], has_class: NDArray[np.bool_], classes: Sequence[str], folder: Path, seed: int
) -> dict[str, tuple[Path, int]]:
    """Write ``train.txt`` and ``val.txt`` with a line per video; returns both with their numbers of videos."""
    in_val = choose_validation(has_class, _VAL_SHARE, seed)
    warn_of_one_sided(has_class, in_val, dict(enumerate(classes)))
    lists = {}
    for part, chosen in (("train", ~in_val), ("val", in_val)):
        rows = np.flatnonzero(chosen).tolist()
        _write_lines(folder / f"{part}.txt", [lines[row] for row in rows])
        lists[part] = (folder / f"{part}.txt", len(rows))
    return lists


def _unlabelled(data: Path, folder: Path) -> FoundData:
    write_description(folder / "train.yaml", {"videos": data}, format="videos", force=True)
    return FoundData("pretraining", str(folder / "train.yaml"), "", "a folder of videos")


def _two_parts(task: str, folder: Path, kind: str) -> FoundData:
    """The data of ``train.yaml`` and ``val.yaml`` in ``folder``."""
    return FoundData(task, str(folder / "train.yaml"), str(folder / "val.yaml"), kind)


def _class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders with at least one video at any depth."""
    return sorted(
        entry.name
        for entry in scan(folder)
        if entry.is_dir() and any(extension(file.name) in VIDEO_EXTENSIONS for file, _ in walk(entry.path))
    )


def _is_ava(path: Path) -> bool:
    """Whether the first row of a csv looks like one of AVA's: a name, a second, four corners, an action or none."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        row = next((row for row in csv.reader(file) if len(row) >= 7 and row[2].strip()), None)
    if row is None:
        return False
    try:
        numbers = [float(value) for value in row[1:6]]
    except ValueError:
        return False
    return all(0 <= corner <= 1 for corner in numbers[1:])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
