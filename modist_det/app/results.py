"""What ``predict`` returns: prints, draws itself in a notebook, converts and saves."""

from __future__ import annotations

import base64
import html
import importlib
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ..inference import Outputs, VideoActions, VideoClasses, open_source
from ..inference.class_run import write_class_outputs, write_timeline
from ..inference.redraw import draw_frames, write_video
from ..utils.errors import UserError
from ..utils.json_reading import read_json
from ..utils.spread import middles
from ..video.reader import open_video
from ..visualization.keyframes import contact_sheet, write_png
from ..visualization.overlay import drawing_size

__all__ = ["ClassificationResult", "DetectionResult"]

_LISTED = 12  # rows of a printed result
_SHEET_FRAMES = 6
_JPEG_QUALITY = 80


class VideoResult(ABC):
    """Base of both results.

    Attributes:
        video: the file or frame folder.
        fps: frame rate of a frame folder.
    """

    video: Path
    fps: float

    @abstractmethod
    def rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Header and rows of the printed table."""

    @abstractmethod
    def summary(self) -> str:
        """One line about the video."""

    @abstractmethod
    def picture(self) -> bytes:
        """The result as a PNG or JPEG file."""

    @abstractmethod
    def write(self, outputs: Outputs) -> None:
        """Write the requested files."""

    def save(self, path: str | Path, *, top: int = 3, min_score: float | None = None) -> Path:
        """Write the result; the name's end chooses the kind: .mp4, .gif, .webp, .json, .csv, .png.

        Args:
            path: the file to write.
            top, min_score: largest number and minimum score of the actions drawn; None: the model's calibrated score of
                each class if there is one, otherwise 0.1.

        Raises:
            UserError: another kind of file, the video itself, or the file cannot be written.
        """
        path = Path(path)
        kinds = {
            ".mp4": "video",
            ".gif": "video",
            ".webp": "video",
            ".json": "json",
            ".csv": "csv",
            ".png": "sheet",
        }
        if path.suffix.lower() not in kinds:
            raise UserError(f"a result is not saved as {path.name!r}; its name ends in {', '.join(kinds)}")
        if path.resolve() == self.video.resolve():
            raise UserError(f"{path} is the video itself; save its annotated copy under another name")
        return self._write(path, kinds[path.suffix.lower()], top=top, min_score=min_score)

    def _write(self, path: Path, kind: str, **drawing: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs: dict[str, Any] = {kind: path}
        self.write(Outputs(**outputs, **drawing))
        return path

    def to_dict(self) -> dict[str, Any]:
        """All results as plain values, as they are in the JSON file (docs/RESULT_FILES.md)."""
        with tempfile.TemporaryDirectory() as folder:
            return read_json(self.save(Path(folder) / "result.json"))

    def to_json(self, path: str | Path) -> Path:
        """Write all results as JSON (docs/RESULT_FILES.md), whatever the name's end."""
        return self._write(Path(path), "json")

    def __str__(self) -> str:
        header, rows = self.rows()
        table = tabulate(rows[:_LISTED], headers=header, disable_numparse=True) if rows else "nothing found"
        more = f"\n... and {len(rows) - _LISTED} more rows" if len(rows) > _LISTED else ""
        return f"{self.summary()}\n{table}{more}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        header, rows = self.rows()
        table = tabulate(rows[:_LISTED], headers=header, tablefmt="html", disable_numparse=True)
        image = base64.b64encode(self.picture()).decode()
        return (
            f"<div><p>{html.escape(self.summary())}</p>"
            f'<img style="max-width:100%" alt="the result" src="data:image;base64,{image}">{table}</div>'
        )


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult(VideoResult):
    """Who does what, where and when in a video.

    Attributes:
        actions: keyframes, tracks and their actions.
    """

    actions: VideoActions
    video: Path
    fps: float = 25.0

    def summary(self) -> str:
        people = len({tube.track_id for tube in self.actions.tubes})
        return (
            f"{self.video.name}: {self.actions.duration:.1f} s, {len(self.actions.keyframes)} keyframes, "
            f"{people} people; model {self.actions.header.model}"
        )

    def rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """A row per action of a person."""
        names = self.actions.header.class_names
        rows = [
            (tube.track_id, names[part.action], f"{part.start:.1f}", f"{part.end:.1f}", f"{part.score:.2f}")
            for tube in sorted(self.actions.tubes, key=lambda tube: (tube.track_id, tube.start))
            for part in tube.actions
        ]
        return ["person", "action", "from s", "to s", "score"], rows

    def to_pandas(self, min_score: float = 0.0) -> Any:
        """A ``pandas.DataFrame`` with a row per keyframe, person and action.

        Its columns: second, track_id, x1, y1, x2, y2 (in [0, 1]), person_score, action_id, action, score.

        Args:
            min_score: leave out lower scores.

        Raises:
            UserError: pandas is not installed.
        """
        pandas = _import("pandas")
        names = self.actions.header.class_names
        rows = [
            (keyframe.second, track, *box, person, number, names[number], score)
            for keyframe in self.actions.keyframes
            for track, box, person, scores in zip(
                keyframe.track_ids.tolist(),
                keyframe.boxes.tolist(),
                keyframe.person_scores.tolist(),
                keyframe.scores.tolist(),
                strict=True,
            )
            for number, score in zip(names, scores, strict=True)
            if score >= min_score
        ]
        columns = [
            "second",
            "track_id",
            "x1",
            "y1",
            "x2",
            "y2",
            "person_score",
            "action_id",
            "action",
            "score",
        ]
        return pandas.DataFrame(rows, columns=columns)

    def to_supervision(self) -> list[Any]:
        """A ``supervision.Detections`` for each of ``actions.keyframes``.

        ``xyxy`` is in pixels, ``class_id`` and ``confidence`` are those of the best action, ``tracker_id`` is the
        track; ``data`` has ``class_name``, and ``scores`` (N, C) of all actions.

        Raises:
            UserError: supervision is not installed.
        """
        supervision = _import("supervision")
        header = self.actions.header
        size = np.array([header.width, header.height] * 2, np.float32)
        ids = np.array(list(header.class_names))
        names = np.array(list(header.class_names.values()))
        found = []
        for keyframe in self.actions.keyframes:
            if not len(keyframe):
                found.append(supervision.Detections.empty())
                continue
            best = keyframe.scores.argmax(axis=1)
            found.append(
                supervision.Detections(
                    xyxy=keyframe.boxes * size,
                    confidence=keyframe.scores.max(axis=1),
                    class_id=ids[best],
                    tracker_id=keyframe.track_ids,
                    data={"class_name": names[best], "scores": keyframe.scores},
                )
            )
        return found

    def write(self, outputs: Outputs) -> None:
        if outputs.json is not None:
            self.actions.to_json(outputs.json)
        if outputs.csv is not None:
            self.actions.to_csv(outputs.csv, outputs.first_second)
        if outputs.sheet is not None:
            write_png(outputs.sheet, self._sheet(outputs))
        write_video(self.actions, open_source(self.video, self.fps), outputs)

    def picture(self) -> bytes:
        """Some frames with the people and their actions."""
        encoded, data = cv2.imencode(
            ".jpg",
            cv2.cvtColor(self._sheet(Outputs()), cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
        )
        assert encoded
        return data.tobytes()

    def _sheet(self, outputs: Outputs) -> NDArray[np.uint8]:
        seconds = middles(self.actions.duration, _SHEET_FRAMES)
        header = self.actions.header
        with open_video(str(self.video), self.fps) as reader:
            frames = reader.frames_at_times(seconds, size=drawing_size(header.height, header.width))
        images = draw_frames(self.actions, frames, seconds, outputs)
        return contact_sheet(images, [f"{second:.2f} s" for second in seconds], columns=3)


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationResult(VideoResult):
    """The class of a video, and of its windows.

    Attributes:
        classes: scores of the video and of its windows.
    """

    classes: VideoClasses
    video: Path
    fps: float = 25.0

    def summary(self) -> str:
        best = ", ".join(f"{name} {score:.2f}" for name, score in self.top())
        return f"{self.video.name}: {best} ({self.classes.duration:.1f} s; model {self.classes.model})"

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """The ``k`` best classes of the video: (name, score), best first."""
        return self.classes.top(k)

    def rows(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """A row per class that is on for some time."""
        names = self.classes.class_names
        rows = [
            (names[part.action], f"{part.start:.1f}", f"{part.end:.1f}", f"{part.score:.2f}")
            for part in self.classes.segments()
        ]
        return ["class", "from s", "to s", "score"], rows

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row per window: start, end, and the score of each class.

        Raises:
            UserError: pandas is not installed.
        """
        result = self.classes
        table = _import("pandas").DataFrame(result.window_scores, columns=list(result.class_names.values()))
        table.insert(0, "start", result.starts)
        table.insert(1, "end", result.ends)
        return table

    def to_supervision(self) -> Any:
        """A ``supervision.Classifications``: the scores of the video.

        Raises:
            UserError: supervision is not installed.
        """
        scores = self.classes.scores
        return _import("supervision").Classifications(
            class_id=np.array(list(self.classes.class_names)), confidence=scores
        )

    def write(self, outputs: Outputs) -> None:
        write_class_outputs(self.classes, self.video, outputs, fps=self.fps)

    def picture(self) -> bytes:
        """The timeline."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "timeline.png"
            write_timeline(self.classes, self.video, path, fps=self.fps)
            return path.read_bytes()


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"this needs {name}, which is not installed: pip install {name}") from error
