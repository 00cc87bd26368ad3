"""Write the files of a set: H.264 videos, AVA's csv files and the dataset description."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..utils import files
from ..utils.files import atomic_path
from .labels import CLASS_IDS, label_map_text

__all__ = ["detection_rows", "ground_truth_rows", "write_annotations", "write_json", "write_video"]


def write_video(path: Path, frames: np.ndarray, fps: int) -> None:
    """Encode frames uint8 (T, H, W, 3) as H.264 with B-frames, yuv420p. The same frames give the same bytes."""
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        # One thread, because x264's output depends on their number. No mbtree, because with it (x264 core 165) the same
        # frames sometimes gave different bytes.
        options = {"crf": "20", "preset": "veryfast", "bf": "2", "g": str(2 * fps)}
        stream.options = {**options, "threads": "1", "x264-params": "mbtree=0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as compact JSON, atomically."""
    files.write_json(path, content, indent=None, separators=(",", ":"))


def _write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _box_columns(box: Sequence[float], width: int, height: int) -> list[str]:
    return [f"{value / size:.6f}" for value, size in zip(box, (width, height, width, height), strict=True)]


def ground_truth_rows(truth: dict, keyframes: Sequence[int]) -> list[list[str]]:
    """A video's rows in AVA's ground-truth csv. A keyframe without people has two columns.

    Args:
        truth: the video's entry in ``tracks_<split>.json``.
    """
    rows = []
    for second in keyframes:
        key = [truth["video"], f"{second:04d}"]
        found = False
        for person in truth["people"]:
            box = person["boxes"][second * truth["fps"]]
            if box is None:
                continue
            found = True
            for number in actions_at(person, second):
                columns = _box_columns(box, truth["width"], truth["height"])
                rows.append([*key, *columns, str(number), str(person["person_id"])])
        if not found:
            rows.append(key)
    return rows


def actions_at(person: dict, second: float) -> list[int]:
    """Class ids of the actions of a person in ``tracks_<split>.json`` at a time."""
    return next(s["actions"] for s in person["segments"] if second < s["end"] or s is person["segments"][-1])


def detection_rows(truth: dict, keyframes: Sequence[int], rng: np.random.Generator) -> list[list[str]]:
    """A video's rows in a person-box csv, simulating a good but imperfect detector.

    Boxes are off by a few percent, 4 % of the people are missed, hidden people have lower scores, and there are
    occasional false positives.
    """
    width, height = truth["width"], truth["height"]
    rows = []
    for second in keyframes:
        boxes: list[tuple[np.ndarray, float]] = []
        for person in truth["people"]:
            box = person["boxes"][second * truth["fps"]]
            if box is None or rng.random() < 0.04:
                continue
            size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
            hidden = 1 - person["visible"][second * truth["fps"]]
            score = 1 - rng.uniform(0, 0.08) - rng.uniform(0, 0.5) * hidden**2
            boxes.append((np.array(box) + 0.03 * size * rng.standard_normal(4), score))
        if rng.random() < 0.2:
            corner = rng.uniform(0, 0.7, 2) * (width, height)
            size = rng.uniform(0.15, 0.5, 2) * (width, height)
            boxes.append((np.concatenate([corner, corner + size]), rng.uniform(0.3, 0.97)))
        for box, score in boxes:
            box = np.clip(box, 0, [width, height, width, height])
            columns = _box_columns(box, width, height)
            rows.append([truth["video"], f"{second:04d}", *columns, "", f"{score:.6f}"])
    return rows


def write_annotations(
    out: Path,
    split: str,
    truths: Sequence[dict],
    keyframes: Sequence[int],
    rngs: Sequence[np.random.Generator],
) -> None:
    """Write a split's files other than videos: csv files, tracks and the dataset description."""
    truth_rows = (row for truth in truths for row in ground_truth_rows(truth, keyframes))
    _write_rows(out / f"{split}.csv", truth_rows)
    detections = (
        row for truth, rng in zip(truths, rngs, strict=True) for row in detection_rows(truth, keyframes, rng)
    )
    _write_rows(out / f"person_boxes_{split}.csv", detections)
    write_json(out / f"tracks_{split}.json", {"classes": CLASS_IDS, "videos": list(truths)})
    with atomic_path(out / "label_map.pbtxt") as temporary:
        temporary.write_text(label_map_text(), encoding="utf-8")
    with atomic_path(out / f"{split}.yaml") as temporary:
        temporary.write_text(_DESCRIPTION.format(split=split), encoding="utf-8")


_DESCRIPTION = """\
# Generated people who do named actions. Paths are relative to this file.
format: ava
name: puppets_{split}
videos: videos
annotations: {split}.csv
person_boxes: person_boxes_{split}.csv
label_map: label_map.pbtxt
first_second: 0
keyframe_spacing: 1.0
"""
