"""Write a set of single actions in the formats of UCF101 and Kinetics, in addition to AVA's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..utils.files import atomic_path
from .labels import CLASS_NAMES

__all__ = ["ACTION_FILES", "action_video_name", "groups", "write_action_files"]

_UCF_FOLDER = "ucfTrainTestlist"
_UCF_LISTS = {"train": "trainlist01.txt", "val": "testlist01.txt"}
ACTION_FILES = [
    f"{_UCF_FOLDER}/classInd.txt",
    *(f"{_UCF_FOLDER}/{name}" for name in _UCF_LISTS.values()),
    *(f"kinetics_{split}.csv" for split in _UCF_LISTS),
]


def groups(count: int) -> int:
    """Number of groups in ``count`` videos. A group has one video of each class."""
    return math.ceil(count / len(CLASS_NAMES))


def action_video_name(action: str, index: int, groups_before: int = 0) -> str:
    """UCF101 name, without extension, of video ``index`` of a split: ``Walk/v_Walk_g05_c01`` is group 5, clip 1."""
    title = action.capitalize()
    return f"{title}/v_{title}_g{groups_before + groups(index + 1):02d}_c01"


def write_action_files(out: Path, videos: Mapping[str, Sequence[str]]) -> None:
    """Write :data:`ACTION_FILES` into ``out``.

    UCF101's lists have capitalized class names and ids from 1. The Kinetics csv (``path label``) has ids from 0.

    Args:
        videos: names from :func:`action_video_name` for ``train`` and ``val``.
    """
    titles = {name.capitalize(): number for number, name in CLASS_NAMES.items()}
    _write_lines(out / _UCF_FOLDER / "classInd.txt", [f"{n} {title}" for title, n in titles.items()])
    for split, names in videos.items():
        numbers = [titles[name.partition("/")[0]] for name in names]
        videos_and_classes = list(zip(names, numbers, strict=True))
        # In the official test lists the class is only in the path.
        ucf = [f"{name}.mp4{f' {number}' if split == 'train' else ''}" for name, number in videos_and_classes]
        _write_lines(out / _UCF_FOLDER / _UCF_LISTS[split], ucf)
        kinetics = [f"videos/{name}.mp4 {number - 1}" for name, number in videos_and_classes]
        _write_lines(out / f"kinetics_{split}.csv", kinetics)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
