"""Draw a contact sheet of a set: for each class, a strip of frames from its videos with boxes and labels."""

from __future__ import annotations

import os
from pathlib import Path

import av
import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.json_reading import read_json
from .labels import CLASS_NAMES
from .writers import actions_at

__all__ = ["contact_sheet"]

_COLUMNS, _SPAN = 10, 1.8  # frames of a strip, and how many seconds they cover
_ENLARGE = 1.25


def contact_sheet(
    folder: str | os.PathLike, path: str | os.PathLike, split: str = "val", per_class: int = 1
) -> None:
    """Write a PNG with ``per_class`` strips for each class, each around a keyframe at which a person performs it."""
    folder = Path(folder)
    videos = read_json(folder / f"tracks_{split}.json")["videos"]
    strips, used = [], set()
    for number in CLASS_NAMES:
        fresh = sorted(_examples(videos, number), key=lambda example: example[0]["video"] in used)
        for video, second in fresh[:per_class]:
            used.add(video["video"])
            strips.append(_strip(folder, video, second, number))
    if not strips:
        raise UserError(f"{folder}: there are no people at the keyframes of the {split} split to draw")
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(strips))[1].tobytes())


def _examples(videos: list[dict], number: int) -> list[tuple[dict, int]]:
    """Keyframes at which a person performs class ``number``, one per video, the clearest first."""
    found = []
    for video in videos:
        keyframes = []
        for second in range(1, video["num_frames"] // video["fps"]):
            present = [p for p in video["people"] if p["boxes"][second * video["fps"]] is not None]
            doing = [p for p in present if number in actions_at(p, second)]
            if doing:
                before, after = second - _SPAN / 2, second + _SPAN / 2
                steady = any(actions_at(p, before) == actions_at(p, after) for p in doing)
                keyframes.append((not steady, len(present), second))
        if keyframes:
            found.append((min(keyframes), video))
    found.sort(key=lambda item: item[0][:2])
    return [(video, second) for (_, _, second), video in found]


def _strip(folder: Path, video: dict, second: int, number: int) -> np.ndarray:
    """Frames side by side (BGR, uint8), the first one with the class name."""
    with av.open(str(folder / "videos" / f"{video['video']}.mp4")) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    times = second + np.linspace(-_SPAN / 2, _SPAN / 2, _COLUMNS)
    indices = np.clip(np.round(times * video["fps"]).astype(int), 0, len(frames) - 1)
    tiles = [_tile(frames[index], video, int(index), number) for index in indices]
    cv2.putText(
        tiles[0], CLASS_NAMES[number], (4, tiles[0].shape[0] - 6), 0, 0.6, (0, 255, 255), 2, cv2.LINE_AA
    )
    return np.hstack(tiles)


def _tile(frame: np.ndarray, video: dict, index: int, number: int) -> np.ndarray:
    tile = cv2.resize(frame, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
    for person in video["people"]:
        if person["boxes"][index] is None:
            continue
        actions = actions_at(person, index / video["fps"])
        x1, y1, x2, y2 = (round(_ENLARGE * value) for value in person["boxes"][index])
        color = (0, 255, 255) if number in actions else (200, 200, 200)
        cv2.rectangle(tile, (x1, y1), (x2 - 1, y2 - 1), color, 1)
        text = "+".join(CLASS_NAMES[action] for action in actions)
        cv2.putText(tile, text, (max(x1, 1), max(y1 - 3, 9)), 0, 0.32, color, 1, cv2.LINE_AA)
    tile[:, -1] = 0
    return tile
