"""Extract the person boxes of many videos in AVA's format; sharded and resumable."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...data.catalog import DatasetCatalog
from ...data.datasets.detection import DetectionDataset
from ...data.datasets.videos import videos_of_folder
from ...formats.ava.files import detection_lines
from ...structures.keyframes import VideoKeyframes
from ...utils.errors import UserError
from ...utils.files import atomic_path, check_is_file, remove_leftovers, write_json
from ...utils.json_reading import read_json
from ...utils.progress import progress_bar
from ...video.reader import open_video
from ..results import person_table
from .base import Frame, PersonDetector

__all__ = ["DetectionReport", "VideoToSearch", "detect_persons", "videos_of_dataset", "videos_of_folder"]

_SETTINGS_FILE = "settings.json"
_LONGEST_NAME = 180  # of the 255 bytes that a file name may have, temporary names included

VideoToSearch = VideoKeyframes  # the name of earlier versions


@dataclass
class DetectionReport:
    """Number of processed and already finished videos, number of boxes, and failures as (video, reason).

    ``missing``: videos that other shards have not finished; 0 if the csv is complete.
    """

    made: int = 0
    kept: int = 0
    boxes: int = 0
    missing: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def videos_of_dataset(name: str) -> list[VideoKeyframes]:
    """The videos of a detection dataset with their annotated keyframes.

    Raises:
        UserError: the dataset does not exist, its files are missing, or none of its videos exists.
    """
    return DatasetCatalog.get_as(name, DetectionDataset, "keyframes are wanted").keyframes()


def detect_persons(
    videos: Sequence[VideoKeyframes],
    detector: PersonDetector,
    out: str | os.PathLike,
    settings: Mapping[str, Any],
    shard: int = 0,
    num_shards: int = 1,
    batch_size: int = 8,
    show_progress: bool = True,
) -> DetectionReport:
    """Write the boxes of each video to a file in ``OUT.parts``, then merge all files into ``out``.

    Existing parts are kept. Processes and machines can share the work, each with its own ``shard``; the last one to
    finish writes ``out``. An unreadable video does not stop the others, but then ``out`` is not written.

    Args:
        settings: the detector's settings; boxes made with different settings are never mixed.
        batch_size: frames per call of the detector.

    Raises:
        UserError: existing parts were made with different settings, or ``out`` cannot be written.
    """
    check_is_file(out)
    parts = Path(f"{os.fspath(out)}.parts")
    for folder in (parts, Path(out).parent):
        remove_leftovers(folder)
    _note_settings(parts, settings)
    report = DetectionReport()
    with progress_bar("persons", "video", len(videos[shard::num_shards]), show=show_progress) as progress:
        for video in videos[shard::num_shards]:
            part = _part(parts, video)
            if part.is_file():
                report.kept += 1
            else:
                try:
                    report.boxes += _search(video, detector, part, batch_size)
                    report.made += 1
                except UserError as error:
                    report.failed.append((video.name, str(error)))
                    progress.write(f"failed: {error}", file=sys.stderr)
            progress.update()
    report.missing = sum(not _part(parts, video).is_file() for video in videos)
    if not report.missing:
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            for video in videos:
                file.write(_part(parts, video).read_text(encoding="utf-8"))
    return report


def _search(video: VideoKeyframes, detector: PersonDetector, part: Path, batch_size: int) -> int:
    count = 0
    with atomic_path(part) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for seconds, frames in _frames(video, batch_size):
            for at, people in zip(seconds, detector(frames), strict=True):
                if people is not None:
                    count += len(people)
                    file.writelines(
                        detection_lines(person_table(video.name, at, people.boxes, people.scores))
                    )
    return count


def _frames(video: VideoKeyframes, batch_size: int) -> Iterator[tuple[list[float], list[Frame]]]:
    with open_video(video.path, video.fps) as reader:
        seconds = video.seconds
        if seconds is None:
            count = int(reader.info.duration / video.spacing - 1e-9) + 1
            seconds = tuple((video.first_second + np.arange(count) * video.spacing).tolist())
        for start in range(0, len(seconds), batch_size):
            batch = list(seconds[start : start + batch_size])
            times = [second - video.first_second for second in batch]
            images = reader.frames_at_times(times)
            yield batch, [Frame(f, video.name, t) for f, t in zip(images, times, strict=True)]


def _part(parts: Path, video: VideoKeyframes) -> Path:
    name = quote(video.name, safe="", errors="surrogateescape")
    if len(name) > _LONGEST_NAME:  # a Chinese character becomes nine
        name = f"{name[: _LONGEST_NAME - 33]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return parts / f"{name}.csv"


def _note_settings(parts: Path, settings: Mapping[str, Any]) -> None:
    path = parts / _SETTINGS_FILE
    noted = json.loads(json.dumps(dict(settings), default=str))
    if path.exists():
        try:
            before = read_json(path)
        except UserError as error:
            raise UserError(
                f"{error}: the settings with which the boxes beside it were made are lost; delete {parts} to run the "
                "detector again"
            ) from error
        if before != noted:
            raise UserError(
                f"{parts} holds boxes made with {before}, not {noted}; "
                "give the same options, another --out, or delete it"
            )
        return
    write_json(path, noted)
