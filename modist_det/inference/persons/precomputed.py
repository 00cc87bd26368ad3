"""Person boxes from a file of earlier detections or annotations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...formats.ava.files import read_ava_boxes, read_person_boxes
from ...formats.ava.tables import BoxTable
from ...puppets.tracks import convert_tracks
from ...structures.actions import PersonBoxes
from ...utils.errors import UserError
from ...utils.json_reading import read_json
from ...utils.text_files import read_text
from ..results import parse_result
from .base import DETECTOR_OF_FILE, PERSON_DETECTOR_REGISTRY, Frame

__all__ = ["Precomputed"]

_SPACING_OF_FRAMES = 0.1  # maximum, in seconds
_LISTED = 5  # names of videos in a message


DETECTOR_OF_FILE[".csv"] = DETECTOR_OF_FILE[".json"] = lambda path: "Precomputed"


@PERSON_DETECTOR_REGISTRY.register()
class Precomputed:
    """Reads people from a file: AVA's person boxes or ground truth (csv), a result file of this project (json), or the
    tracks of generated people (``tracks_val.json`` of Puppets).

    Args:
        path: the file.
        first_second: the file's second at the video's first frame (csv).
        min_score: minimum score of boxes.
        tolerance: largest difference between a frame's time and a second in the file. If the file has boxes of every
            frame (10 or more per second), the nearest ones are always used.

    Raises:
        UserError: the file is missing or malformed, or no box reaches ``min_score``.
    """

    start_score = 0.0
    min_hits = 1

    def __init__(
        self,
        path: str | os.PathLike,
        first_second: float = 0.0,
        min_score: float = 0.0,
        tolerance: float = 0.02,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() == ".json":
            entries = _from_json(self.path)
        else:
            entries = _from_table(_read(self.path), first_second)
        gaps = [np.diff(sorted(by_second)).min() for by_second in entries.values() if len(by_second) > 1]
        self.spacing = float(min(gaps, default=1.0))
        dense = self.spacing <= _SPACING_OF_FRAMES
        self.tolerance = max(tolerance, self.spacing / 2 + 1e-6) if dense else tolerance
        self._seconds: dict[str, np.ndarray] = {}
        self._people: dict[str, list[PersonBoxes]] = {}
        for video, by_second in entries.items():
            seconds = sorted(by_second)
            self._seconds[video] = np.array(seconds)
            people = [by_second[second] for second in seconds]
            kept = [p.scores >= min_score for p in people]
            self._people[video] = [
                PersonBoxes(p.boxes[k], p.scores[k]) for p, k in zip(people, kept, strict=True)
            ]
        scores = [p.scores for by_second in entries.values() for p in by_second.values() if len(p)]
        if scores and not any(len(p) for people in self._people.values() for p in people):
            count, best = sum(map(len, scores)), max(s.max() for s in scores)
            raise UserError(
                f"no box of {self.path} reaches min_score {min_score:g} ({count} boxes, best {best:g}); set it lower"
            )
        self._answered: dict[str, int] = {}
        self._last: dict[str, float] = {}

    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        return [self._look_up(frame.video, frame.second) for frame in frames]

    def _look_up(self, video: str, second: float) -> PersonBoxes | None:
        if video not in self._seconds:
            known = ", ".join(repr(name) for name in sorted(self._seconds)[:_LISTED]) or "none"
            more = ", ..." if len(self._seconds) > _LISTED else ""
            raise UserError(
                f"{self.path} has no boxes of video {video!r}, which is named after its file or folder; its videos: "
                f"{known}{more}"
            )
        near = int(np.abs(self._seconds[video] - second).argmin())
        self._last[video] = max(second, self._last.get(video, 0.0))
        if abs(self._seconds[video][near] - second) > self.tolerance:
            return None
        self._answered[video] = self._answered.get(video, 0) + 1
        return self._people[video][near]

    def remark(self, video: str) -> str:
        """After a run: the reason why no box of the file matched a frame of ``video``; "" if some did."""
        if video not in self._last or self._answered.get(video):
            return ""
        seconds = self._seconds[video]
        return (
            f"{self.path}: no processed frame of {video} (0 to {self._last[video]:g} s) matches one of its "
            f"{len(seconds)} keyframes (after first_second: {seconds[0]:g} to {seconds[-1]:g} s); "
            "set the file's second at the first frame with --person-option first_second=S"
        )


Entries = dict[str, dict[float, PersonBoxes]]


def _read(path: Path) -> BoxTable:
    """Read a csv of detections (eight columns with a score) or of ground truth."""
    first = read_text(path, f"file of person boxes {path}").splitlines()[:50]
    ends = [line.split(",")[-2:] for line in first if line.count(",") == 7]
    scored = any(not action.strip() or "." in last for action, last in ends)
    return read_person_boxes(path) if scored else read_ava_boxes(path)


def _from_table(table: BoxTable, first_second: float) -> Entries:
    entries: Entries = {}
    for video, second in zip(table.keyframes.video.tolist(), table.keyframes.second.tolist(), strict=True):
        entries.setdefault(table.videos[video], {})[second - first_second] = PersonBoxes()
    if not len(table.second):  # all keyframes are without people
        return entries
    # Rows with the same box are one person with several actions.
    rows = np.column_stack([table.video, table.second, table.boxes])
    order = np.lexsort(rows.T[::-1])
    rows, scores = rows[order], table.score[order]
    new = np.append(True, (rows[1:] != rows[:-1]).any(axis=1))[: len(rows)]
    rows, scores = rows[new], scores[new]
    edges = np.flatnonzero(np.append(True, (rows[1:, :2] != rows[:-1, :2]).any(axis=1))[: len(rows)])
    for start, end in zip(edges, np.append(edges[1:], len(rows)), strict=True):
        people = PersonBoxes(rows[start:end, 2:].astype(np.float32), scores[start:end].astype(np.float32))
        entries.setdefault(table.videos[int(rows[start, 0])], {})[float(rows[start, 1]) - first_second] = (
            people
        )
    return entries


def _from_json(path: Path) -> Entries:
    content = read_json(path)
    if isinstance(content, dict) and {"classes", "videos"} <= content.keys():
        return convert_tracks(content, path, _from_tracks)
    found = parse_result(content, path)
    return {found.header.video: {k.second: PersonBoxes(k.boxes, k.person_scores) for k in found.keyframes}}


def _from_tracks(video: Mapping[str, Any]) -> dict[float, PersonBoxes]:
    """People by second in a generated video; its boxes are in pixels, and null while a person is not visible."""
    size = np.array([video["width"], video["height"]] * 2, np.float32)
    by_second = {}
    for frame in range(video["num_frames"]):
        boxes = [person["boxes"][frame] for person in video["people"] if person["boxes"][frame] is not None]
        array = (np.array(boxes, np.float32).reshape(-1, 4) / size).clip(0, 1)
        by_second[frame / video["fps"]] = PersonBoxes(array, np.ones(len(array), np.float32))
    return by_second
