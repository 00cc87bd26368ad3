"""Reading ``tracks_<split>.json``: what the people of generated videos do, and where they are in each frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..utils.json_reading import malformed

__all__ = ["convert_tracks"]

_MOST_FRAMES = 1_000_000  # of a video; generated ones have some hundreds
_T = TypeVar("_T")


def convert_tracks(
    content: Any, path: str | os.PathLike, convert: Callable[[Mapping[str, Any]], _T]
) -> dict[str, _T]:
    """What ``convert`` makes of each video's entry, by the video's name.

    Args:
        content: of the JSON file ``path``.

    Raises:
        UserError: it is the content of another kind of file.
    """
    with malformed(f"{path} is not a file of tracks as prepare_puppets.py writes it"):
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
    if any(len(person["boxes"]) != frames for person in video["people"]):
        raise ValueError(
            f"a person of {video['video']} has not a box (or null) for each of its {frames} frames"
        )
    return video


def _is_ordered(box: list[float]) -> bool:
    return box[0] <= box[2] and box[1] <= box[3]
