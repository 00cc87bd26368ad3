"""Write the description file of a custom dataset, and split a dataset into training and validation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...formats.ava.files import read_ava_boxes, write_ava_boxes
from ...structures.class_facts import class_name
from ...utils.errors import UserError
from ...utils.files import atomic_path
from .ava import AVADataset
from .splitting import choose_validation, warn_of_one_sided

__all__ = ["split_dataset", "write_description", "write_label_map"]


def write_description(
    path: str | os.PathLike, settings: Mapping[str, Any], *, format: str = "ava", force: bool = False
) -> Path:
    """Write a description file with all settings that are not None.

    Paths inside the file's folder are written relative to it, others in full.

    Args:
        force: replace an existing file.

    Raises:
        UserError: the file exists.
    """
    path = Path(path)
    _refuse_existing([path], force, "remove it, choose another name, or add --force")
    folder = path.parent.resolve()
    given = {key: _portable(value, folder) for key, value in settings.items() if value is not None}
    with atomic_path(path) as temporary:
        temporary.write_text(
            yaml.safe_dump({"format": format, **given}, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return path


def _refuse_existing(paths: Iterable[Path], force: bool, advice: str) -> None:
    for path in paths:
        if path.exists() and not force:
            raise UserError(f"{path} exists; {advice}")


def write_label_map(path: str | os.PathLike, class_ids: Sequence[int], *, force: bool = False) -> Path:
    """Write a label map with placeholder names (``class 3``) for the user to edit.

    Args:
        force: replace an existing file.

    Raises:
        UserError: the file exists.
    """
    path = Path(path)
    _refuse_existing([path], force, "name it as the label map, remove it, or add --force")
    with atomic_path(path) as temporary:
        items = (f'item {{\n  name: "class {number}"\n  id: {number}\n}}\n' for number in class_ids)
        temporary.write_text("".join(items), encoding="utf-8")
    return path


def _portable(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_portable(entry, folder) for entry in value]
    if not isinstance(value, os.PathLike):
        return value
    target = Path(value).resolve()
    return str(target.relative_to(folder) if target.is_relative_to(folder) else target)


def split_dataset(
    dataset: AVADataset,
    folder: str | os.PathLike,
    validation_share: float = 0.2,
    seed: int = 0,
    *,
    force: bool = False,
) -> dict[str, tuple[Path, list[str]]]:
    """Split a dataset by video: ``train.yaml`` with ``train.csv`` and ``val.yaml`` with ``val.csv`` in ``folder``.

    The split is by video because neighbouring keyframes are near-duplicates and would leak into validation. Each class
    has about the same share of its videos in both (:func:`.splitting.choose_validation`).

    Args:
        force: replace existing files.

    Returns:
        The description file and the videos of ``"train"`` and of ``"val"``.

    Raises:
        UserError: there are no annotations, fewer than two videos, or an output file exists.
    """
    if dataset.annotations is None:
        raise UserError(f"dataset {dataset.name} has no 'annotations' to split")
    table = read_ava_boxes(dataset.annotations)
    if len(table.videos) < 2:
        raise UserError(f"{dataset.annotations} has {len(table.videos)} video; a split needs two")
    ids = np.unique(table.action[table.action > 0])
    has_class = np.zeros((len(table.videos), len(ids)), dtype=bool)
    labelled = table.action > 0
    has_class[table.video[labelled], np.searchsorted(ids, table.action[labelled])] = True
    found = dataset.find_videos(table.videos)
    present = np.array([name in found for name in table.videos])
    # Nothing could be measured on videos that are missing; without any video, annotations alone are split.
    candidates = np.flatnonzero(present if present.sum() > 1 else np.ones_like(present))
    in_val = np.zeros(len(table.videos), dtype=bool)
    in_val[candidates] = choose_validation(has_class[candidates], validation_share, seed)
    paths = {split: Path(folder, f"{split}.csv") for split in ("train", "val")}
    written = [file for path in paths.values() for file in (path, path.with_suffix(".yaml"))]
    _refuse_existing(written, force, "remove it, choose another folder, or add --force")
    result = {}
    for split, chosen in (("train", ~in_val), ("val", in_val)):
        description = write_description(
            paths[split].with_suffix(".yaml"),
            {
                "videos": [Path(video) for video in dataset.videos],
                "label_map": Path(dataset.label_map),
                "annotations": paths[split],
                "person_boxes": dataset.person_boxes and Path(dataset.person_boxes),
                "exclusions": dataset.exclusions and Path(dataset.exclusions),
                "frame_list": dataset.frame_list and Path(dataset.frame_list),
                "fps": dataset.fps,
                "first_second": dataset.first_second,
                "keyframe_spacing": dataset.keyframe_spacing,
                "num_classes": dataset.num_classes,
                "match_iou": dataset.match_iou,
                "max_missing": dataset.max_missing,
            },
            force=force,
        )
        rows = table.take(chosen[table.video])
        keyframes = table.keyframes.take(chosen[table.keyframes.video])
        write_ava_boxes(paths[split], replace(rows, keyframes=keyframes))
        result[split] = description, [n for n, c in zip(table.videos, chosen, strict=True) if c]
    names = dataset.metadata.class_names
    warn_of_one_sided(has_class, in_val, {number: class_name(names, number) for number in ids.tolist()})
    return result
