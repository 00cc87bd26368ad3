"""Classes of a video and of its windows, and their files; see docs/RESULT_FILES.md."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import ActionSegment, Scores, top_actions
from ..structures.class_facts import FIRST_ID
from ..utils.errors import UserError
from ..utils.files import atomic_path, write_json
from ..utils.json_reading import malformed
from ..utils.json_reading import read_json as read_any_json
from ..utils.spreadsheet import as_text
from .result_values import check_frame_size, class_names_of, finite, rounded, rounded_number, score_table
from .tubes import find_segments

__all__ = ["CLASSES_FORMAT", "VideoClasses"]

CLASSES_FORMAT = "modist_det.video_classes/1"


@dataclass(frozen=True, eq=False)
class VideoClasses:
    """Class scores of one video.

    Attributes:
        video: its id: the file's name without extension.
        width, height: pixels of a frame.
        class_names: name of each of the C class indices, ascending.
        starts, ends: float64 (W,), seconds of the windows, ascending; they may overlap.
        window_scores: float32 (W, C) in [0, 1].
        duration: seconds of the video.
        model: origin of the weights.
    """

    video: str
    width: int
    height: int
    class_names: Mapping[int, str]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    window_scores: Scores
    duration: float
    model: str = ""

    @property
    def scores(self) -> Scores:
        """The mean over the windows, float32 (C,)."""
        return self.window_scores.mean(axis=0)

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` best classes of the video: (name, score), best first."""
        return top_actions(self.scores, list(self.class_names.values()), k)

    def scores_at(self, second: float) -> Scores:
        """Scores (C,) of the window whose middle is nearest to ``second``."""
        return self.window_scores[int(np.abs(self._middles - second).argmin())]

    def segments(self, min_score: float = 0.5, keep_share: float = 0.8) -> list[ActionSegment]:
        """When which class is on: maximal runs of windows, sorted by start.

        Args:
            min_score: a run reaches it in at least one window.
            keep_share: a run ends where the score falls below this share of ``min_score``.
        """
        found = find_segments(
            self._middles,
            self.window_scores,
            0.0,
            self.duration,
            list(self.class_names),
            min_score,
            keep_share * min_score,
        )
        return list(found)

    @property
    def _middles(self) -> NDArray[np.float64]:
        return (self.starts + self.ends) / 2

    def to_dict(self) -> dict[str, Any]:
        """All results as plain values, as they are in the JSON file."""
        return {
            "format": CLASSES_FORMAT,
            "video": self.video,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "duration": rounded_number(self.duration),
            "classes": [{"id": number, "name": name} for number, name in self.class_names.items()],
            "scores": rounded(self.scores),
            "windows": [
                {"start": start, "end": end, "scores": scores}
                for start, end, scores in zip(
                    rounded(self.starts), rounded(self.ends), rounded(self.window_scores), strict=True
                )
            ],
        }

    def to_json(self, path: str | os.PathLike) -> None:
        """Write all results as JSON, to be read by :meth:`from_json`. Schema: docs/RESULT_FILES.md."""
        write_json(Path(path), self.to_dict())

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a row per window: start, end and the score of each class."""
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["video", "start", "end", *map(as_text, self.class_names.values())])
            for start, end, scores in zip(
                self.starts.tolist(), self.ends.tolist(), self.window_scores.tolist(), strict=True
            ):
                writer.writerow(
                    [as_text(self.video), f"{start:.3f}", f"{end:.3f}", *(f"{score:.6f}" for score in scores)]
                )

    @classmethod
    def from_json(cls, path: str | os.PathLike) -> VideoClasses:
        """Read a file of :meth:`to_json`. Its scores are rounded to six digits.

        Raises:
            UserError: the file is missing or has another format.
        """
        content = read_any_json(Path(path))
        if not isinstance(content, dict) or content.get("format") != CLASSES_FORMAT:
            raise UserError(f"{path} is not a result file: its 'format' is not {CLASSES_FORMAT!r}")
        with malformed(f"{path} is not of format {CLASSES_FORMAT}"):
            return _parse(content)


def _parse(content: dict[str, Any]) -> VideoClasses:
    windows = content["windows"]
    if not windows:
        raise ValueError("it has no windows")
    names = class_names_of(content["classes"], FIRST_ID["classification"])
    check_frame_size(content)
    starts = np.array([finite("the start of a window", window["start"]) for window in windows])
    ends = np.array([finite("the end of a window", window["end"]) for window in windows])
    if (np.diff(starts) < 0).any() or (ends < starts).any():
        raise ValueError("its windows are not in ascending order, or one ends before it starts")
    return VideoClasses(
        content["video"],
        int(content["width"]),
        int(content["height"]),
        names,
        starts,
        ends,
        score_table([window["scores"] for window in windows], len(names)),
        finite("its duration", content["duration"]),
        content["model"],
    )
