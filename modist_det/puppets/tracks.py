"""Read ``tracks_<split>.json``: the actions of the people in generated videos and their boxes in each frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..utils.json_reading import malformed

__all__ = ["convert_tracks", "is_generated"]

_MOST_FRAMES = 1_000_000  # per video; generated ones have a few hundred
_T = TypeVar("_T")


def is_generated(video: str | os.PathLike) -> bool:
    """Whether a video lies in the folder of a generated dataset, ``PUPPETS/videos/[CLASS/]NAME.mp4``."""
    parents = Path(video).resolve().parents
    return any(list(folder.glob("tracks_*.json")) for folder in parents[1:3])


def convert_tracks(
    content: Any, path: str | os.PathLike, convert: Callable[[Mapping[str, Any]], _T]
) -> dict[str, _T]:
    """Video name -> result of ``convert`` for the video's entry.

    Args:
        content: the content of the JSON file ``path``.

    Raises:
        UserError: it is another kind of file.
    """
    with malformed(f"{path} is not a tracks file of prepare_puppets.py"):
        return {video["video"]: convert(_checked(video)) for video in content["videos"]}


def _checked(video: Mapping[str, Any]) -> Mapping[str, Any]:
    frames = video["num_frames"]
    if not isinstance(frames, int) or not 0 <= frames <= _MOST_FRAMES:
        raise ValueError(f"num_frames is {frames!r}")
    for name in ("width", "height", "fps"):
        if not 0 < video[name] < math.inf:
            raise ValueError(f"{name} of {video['video']} is {video[name]!r}")
    for person in video["people"]:
        for box in person["boxes"]:
            if box is not None and not (len(box) == 4 and all(map(math.isfinite, box)) and _is_ordered(box)):
                raise ValueError(f"box {box} of {video['video']} is inverted, or not four numbers")
        if len(person["boxes"]) != frames:
            raise ValueError(
                f"a person in {video['video']} lacks a box (or null) for some of its {frames} frames"
            )
    return video


def _is_ordered(box: list[float]) -> bool:
    return box[0] <= box[2] and box[1] <= box[3]
