"""Tubes and frame detections of many videos as columns, and how they are read from records, columns or nested dicts.

A *tube* is a series of boxes of one class in one video; a frame detection is a tube of one frame. What users have of
them is accepted in these forms (:func:`read_tubes`):

- a sequence of records: ``{"video", "class", "frames", "boxes", "score"}`` for a tube, ``{"video", "class", "frame",
  "box", "score"}`` for a box of one frame (in ground truth without ``score``; a record may have one score per class,
  ``"scores"``, instead of ``"class"`` and ``"score"``);
- columns: a dict, DataFrame or structured array with ``video``, ``class``, ``frame``, ``box``, ``score``, one row per
  box, and ``tube`` where rows of one video and class are parts of tubes;
- ``{video: {frame: [box, ...]}}``, where a box is ``{"box", "scores"}``, or a row of numbers: its coordinates, a
  background score and a score for each class;
- a :class:`~.tables.BoxTable`, whose seconds are the frames and whose person ids are the tubes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..utils.json_reading import malformed
from .keyframes import IntArray
from .tables import BoxTable

__all__ = ["Codes", "TubeTable", "VideoSize", "read_tubes"]

Codes = dict[Hashable, int]  # number of each name
_MAX_FRAME = 1 << 53  # up to which floats are exact
_TICKS = 1_000_000  # frames per second of a BoxTable's seconds


class VideoSize(NamedTuple):
    """Pixels, number of frames (0: unknown) and frame rate (0: unknown) of a video."""

    width: int
    height: int
    num_frames: int = 0
    fps: float = 0.0


@dataclass(frozen=True, eq=False)
class TubeTable:
    """Columns of tubes (T,) and of their boxes (n,), which are grouped by tube and ascending by frame.

    Attributes:
        video, label: int64 (T,), numbers of the video and of the class.
        score: float64 (T,).
        starts: int64 (T + 1,); the boxes of tube ``t`` are rows ``starts[t]:starts[t + 1]``.
        frame: int64 (n,).
        boxes: float64 (n, 4), x1y1x2y2; of tubelets (n, 4 K), the boxes of K successive frames.
    """

    video: IntArray
    label: IntArray
    score: NDArray[np.float64]
    starts: IntArray
    frame: IntArray
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.video)

    @property
    def lengths(self) -> IntArray:
        """Number of boxes (T,)."""
        return np.diff(self.starts)

    def rows(self) -> TubeTable:
        """Each box as a tube of its own."""
        tube = np.repeat(np.arange(len(self)), self.lengths)
        return TubeTable(
            self.video[tube],
            self.label[tube],
            self.score[tube],
            np.arange(len(tube) + 1),
            self.frame,
            self.boxes,
        )

    def take(self, tubes: NDArray[np.bool_ | np.integer]) -> TubeTable:
        """Select tubes by index or mask."""
        lengths = self.lengths[tubes]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(starts[-1]) - np.repeat(starts[:-1] - self.starts[:-1][tubes], lengths)
        return TubeTable(
            self.video[tubes],
            self.label[tubes],
            self.score[tubes],
            starts,
            self.frame[rows],
            self.boxes[rows],
        )


def read_tubes(
    data: Any,
    what: str,
    videos: Codes,
    classes: Codes,
    *,
    scored: bool = True,
    class_names: Sequence[Hashable] | None = None,
    best_class: bool = False,
) -> TubeTable:
    """Read tubes or frame detections in any of the forms that the module's docstring lists.

    Args:
        data: the tubes or boxes.
        what: their name in messages, such as "detections".
        videos, classes: numbers by name; new names are added.
        scored: whether a score is required; without, it is 1.
        class_names: the class of each of ``scores``, in order.
        best_class: of boxes with ``scores``, keep only the class with the highest one instead of all.

    Raises:
        UserError: a field is missing, frames are out of order, or boxes are malformed or not finite.
    """
    with malformed(what):
        return _read(data, what, videos, classes, scored, class_names, best_class)


def _read(
    data: Any,
    what: str,
    videos: Codes,
    classes: Codes,
    scored: bool,
    class_names: Sequence[Hashable] | None,
    best_class: bool,
) -> TubeTable:
    if isinstance(data, BoxTable):
        return _of_box_table(data, videos, classes)
    if fields := getattr(getattr(data, "dtype", None), "names", None):
        data = {name: data[name] for name in fields}
    elif hasattr(data, "to_dict"):
        data = data.to_dict("list")
    if isinstance(data, Mapping) and "video" in data:
        if "frames" not in data:
            return _of_columns(data, what, videos, classes, scored, "tube" in data)
        names = list(data)
        data = [dict(zip(names, row, strict=True)) for row in zip(*data.values(), strict=True)]
    elif isinstance(data, Mapping):
        data = list(_unnested(data, what, class_names))
    records = list(data)
    if not all(isinstance(record, Mapping) for record in records):
        number = next(i for i, record in enumerate(records) if not isinstance(record, Mapping))
        raise UserError(f"{what}: record {number} is no dict")
    if any("scores" in record and "score" not in record for record in records):
        records = list(_one_per_class(records, what, class_names, best_class))
    if records and "frames" in records[0]:
        return _of_tubes(records, what, videos, classes, scored)
    fields = ("video", "class", "frame", *(("score",) if scored else ()))
    columns = {name: _field(records, name, what) for name in fields}
    columns["box"] = _field(records, "box" if not records or "box" in records[0] else "boxes", what)
    return _of_columns(columns, what, videos, classes, scored, False)


def _field(records: Sequence[Mapping[str, Any]], name: str, what: str) -> list[Any]:
    try:
        return [record[name] for record in records]
    except KeyError:
        number, record = next((i, record) for i, record in enumerate(records) if name not in record)
        fields = ", ".join(map(repr, record))
        raise UserError(f"{what}: record {number} has {fields}, but needs {name!r}") from None


def _unnested(
    data: Mapping[Any, Any], what: str, names: Sequence[Hashable] | None
) -> Iterator[dict[str, Any]]:
    """Records of ``{video: {frame: [box, ...]}}``."""
    for video, frames in data.items():
        if not isinstance(frames, Mapping):
            raise UserError(
                f"{what}: a dict needs a column 'video', or is {{video: {{frame: boxes}}}}, but {video!r} is no dict"
            )
        for frame, boxes in frames.items():
            for box in boxes:
                if isinstance(box, Mapping):
                    yield {"video": video, "frame": int(frame), **box}
                else:
                    count = len(_names(names, what))
                    yield {
                        "video": video,
                        "frame": int(frame),
                        "box": box[: -count - 1],
                        "scores": box[-count:],
                    }


def _names(names: Sequence[Hashable] | None, what: str) -> Sequence[Hashable]:
    if names is None:
        raise UserError(
            f"{what}: boxes have a score for each class; say which classes these are (classes=[...])"
        )
    return names


def _one_per_class(
    records: Sequence[Mapping[str, Any]], what: str, names: Sequence[Hashable] | None, best: bool
) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(records):
        scores = np.asarray(record["scores"], np.float64)
        if scores.shape != (len(_names(names, what)),):
            raise UserError(
                f"{what}: record {number} has {scores.size} scores for {len(_names(names, what))} classes"
            )
        for label in [int(scores.argmax())] if best else range(len(scores)):
            yield {**record, "class": _names(names, what)[label], "score": scores[label]}


def _codes(names: Any, numbers: Codes) -> IntArray:
    if isinstance(names, np.ndarray) and names.dtype.kind in "UiSu":
        distinct, inverse = np.unique(names, return_inverse=True)
        return np.array([numbers.setdefault(n, len(numbers)) for n in distinct.tolist()], np.int64)[inverse]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _floats(values: Any, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{what}: boxes, frames or scores are not numbers, or rows differ in length ({error})"
        ) from None
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise UserError(f"{what}: box, frame or score {row} is not finite")
    return array


def _frames(values: Any, what: str) -> IntArray:
    frames = np.rint(_floats(values, what))
    if (np.abs(frames) > _MAX_FRAME).any():
        raise UserError(f"{what}: frame {frames[np.abs(frames).argmax()]:g} is beyond any video")
    return frames.astype(np.int64)


def _boxes(values: Any, what: str) -> NDArray[np.float64]:
    array = _floats(values, what)
    array = array.reshape(len(array), -1) if len(array) else array.reshape(0, 4)
    if array.shape[1] % 4 or not array.shape[1]:
        raise UserError(f"{what}: a box has {array.shape[1]} numbers, but must have 4: x1, y1, x2, y2")
    return array


def _of_columns(
    columns: Mapping[str, Any], what: str, videos: Codes, classes: Codes, scored: bool, grouped: bool
) -> TubeTable:
    for name in ("video", "class", "frame", "box", *(("score",) if scored else ())):
        if name not in columns and not (name == "box" and "boxes" in columns):
            raise UserError(
                f"{what}: there is no column {name!r} (columns are {', '.join(map(str, columns))})"
            )
    video, label = _codes(columns["video"], videos), _codes(columns["class"], classes)
    frame = _frames(columns["frame"], what)
    boxes = _boxes(columns["box"] if "box" in columns else columns["boxes"], what)
    score = _floats(columns["score"], what) if scored else np.ones(len(video))
    sizes = {len(column) for column in (video, label, frame, boxes, score)}
    if len(sizes) != 1:
        raise UserError(f"{what}: columns have different lengths: {', '.join(map(str, sorted(sizes)))}")
    if not grouped:
        return TubeTable(video, label, score, np.arange(len(video) + 1), frame, boxes)
    tube = _codes(columns["tube"], {})
    order = np.lexsort((frame, tube, label, video))
    keys = np.column_stack([video, label, tube])[order]
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)][: len(keys)])
    ends = np.append(starts, len(keys))
    means = np.add.reduceat(score[order], starts) / np.diff(ends) if len(starts) else score[:0]
    rows = order[starts]
    twice = np.flatnonzero((keys[1:] == keys[:-1]).all(axis=1) & (np.diff(frame[order]) == 0))
    if len(twice):
        first, again = order[twice[0]], order[twice[0] + 1]
        raise UserError(f"{what}: rows {first} and {again} are of the same tube and frame, {frame[first]}")
    # Tubes stay in the order of their first rows.
    table = TubeTable(video[rows], label[rows], means, ends, frame[order], boxes[order])
    return table.take(np.argsort(np.minimum.reduceat(order, starts) if len(starts) else starts))


def _of_tubes(
    records: Sequence[Mapping[str, Any]], what: str, videos: Codes, classes: Codes, scored: bool
) -> TubeTable:
    frames = [np.rint(np.asarray(entry, np.float64)).ravel() for entry in _field(records, "frames", what)]
    boxes = [np.asarray(entry, np.float64) for entry in _field(records, "boxes", what)]
    for number, (times, corners) in enumerate(zip(frames, boxes, strict=True)):
        if corners.shape != (len(times), 4) or not len(times):
            raise UserError(
                f"{what}: record {number} has boxes of shape {corners.shape} for {len(times)} frames; "
                "a tube has at least one frame and a box x1, y1, x2, y2 for each"
            )
        if len(times) > 1 and (times[1:] <= times[:-1]).any():
            raise UserError(f"{what}: frames of record {number} are not ascending")
    video, label = (
        _codes(_field(records, name, what), n) for name, n in (("video", videos), ("class", classes))
    )
    score = _floats(_field(records, "score", what), what) if scored else np.ones(len(records))
    starts = np.concatenate([[0], np.cumsum([len(times) for times in frames])]).astype(np.int64)
    rows = _frames(np.concatenate([np.zeros(0), *frames]), what)
    return TubeTable(
        video, label, score, starts, rows, _boxes(np.concatenate([np.zeros((0, 4)), *boxes]), what)
    )


def _of_box_table(table: BoxTable, videos: Codes, classes: Codes) -> TubeTable:
    columns = {
        "video": np.array(table.videos or [""])[table.video],
        "class": table.action,
        "frame": table.second * _TICKS,
        "box": table.boxes,
        "score": table.score,
        "tube": table.person,
    }
    grouped = bool(len(table) and (table.person >= 0).all())
    return _of_columns(columns, table.path, videos, classes, True, grouped)
