"""Write the description file of a custom dataset, and split a dataset into training and validation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...formats.ava.files import read_ava_boxes, write_ava_boxes
from ...utils.errors import UserError
from ...utils.files import atomic_path
from .ava import AVADataset

__all__ = ["split_dataset", "write_description", "write_label_map"]


def write_description(path: str | os.PathLike, settings: Mapping[str, Any]) -> Path:
    """Write a description file (``format: ava``) with all settings that are not None.

    Paths inside the file's folder are written relative to it, others in full.

    Raises:
        UserError: the file exists.
    """
    path = Path(path)
    if path.exists():
        raise UserError(f"{path} exists; remove it or choose another name")
    folder = path.parent.resolve()
    given = {key: _portable(value, folder) for key, value in settings.items() if value is not None}
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump({"format": "ava", **given}, sort_keys=False), encoding="utf-8")
    return path


def write_label_map(path: str | os.PathLike, class_ids: Sequence[int]) -> Path:
    """Write a label map with placeholder names (``class 3``) for the user to edit.

    Raises:
        UserError: the file exists.
    """
    path = Path(path)
    if path.exists():
        raise UserError(f"{path} exists; name it as the label map, or remove it")
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
    dataset: AVADataset, folder: str | os.PathLike, validation_share: float = 0.2, seed: int = 0
) -> dict[str, tuple[Path, list[str]]]:
    """Split a dataset by video: ``train.yaml`` with ``train.csv`` and ``val.yaml`` with ``val.csv`` in ``folder``.

    The split is by video because neighbouring keyframes are near-duplicates and would leak into validation.

    Returns:
        The description file and the videos of ``"train"`` and of ``"val"``.

    Raises:
        UserError: there are no annotations, fewer than two videos, or an output file exists.
    """
    if dataset.annotations is None:
        raise UserError(f"dataset {dataset.name} has no 'annotations' to split")
    if not 0 < validation_share < 1:
        raise UserError(
            f"the share of validation videos is {validation_share:g}, but must be between 0 and 1"
        )
    table = read_ava_boxes(dataset.annotations)
    count = len(table.videos)
    if count < 2:
        raise UserError(f"{dataset.annotations} has {count} video; a split needs two")
    in_val = np.zeros(count, dtype=bool)
    num_val = min(max(1, round(validation_share * count)), count - 1)
    in_val[np.random.default_rng(seed).permutation(count)[:num_val]] = True
    paths = {split: Path(folder, f"{split}.csv") for split in ("train", "val")}
    for path in paths.values():
        for written in (path, path.with_suffix(".yaml")):
            if written.exists():
                raise UserError(f"{written} exists; remove it or choose another folder")
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
        )
        rows = table.take(chosen[table.video])
        keyframes = table.keyframes.take(chosen[table.keyframes.video])
        write_ava_boxes(paths[split], replace(rows, keyframes=keyframes))
        result[split] = description, [n for n, c in zip(table.videos, chosen, strict=True) if c]
    return result
