"""Entries of annotation files of labelled videos, one row per video, stored as columns."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...utils.errors import UserError
from .columns import Rows, Strings

__all__ = ["Entries", "Entry", "EntryBuilder", "as_entries", "check_unique"]

_AS_LISTED, _NO_ROW = -1, -2  # stand for a row number in ``where``

Choices = Callable[[str, tuple[int, ...]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotated video.

    Attributes:
        video_id: unique in the dataset.
        files: possible file names below the video folder, with or without extension; the first that exists is
            used.
        labels: class indices, from 0.
        where: file and row, for messages.
        start, end: annotated part in seconds.
        num_frames: number of images in its frame folder, if listed.
    """

    video_id: str
    files: tuple[str, ...]
    labels: tuple[int, ...]
    where: str
    start: float | None = None
    end: float | None = None
    num_frames: int | None = None


class Entries(Rows[Entry]):
    """Entries stored as columns, built by :class:`EntryBuilder`; items are created on access.

    Attributes:
        video_ids: N texts.
        label_starts: int64 (N + 1,): row i has ``labels[label_starts[i]:label_starts[i + 1]]``.
        labels: int32.
        starts, ends: float64 (N,), seconds; NaN for the whole video.
        num_frames: int64 (N,), -1 if not listed.
    """

    def __init__(
        self,
        video_ids: Strings,
        listed: Strings,
        choices: Choices,
        first: Sequence[str] | None,
        places: Sequence[str],
        numbers: Mapping[str, ArrayLike],
    ) -> None:
        self.video_ids = video_ids
        self._listed, self._choices, self._places = listed, choices, list(places)
        self._first = None if first is None else Strings.of(first)
        columns = {name: np.asarray(column) for name, column in numbers.items()}
        self.label_starts, self.labels = columns["label_starts"], columns["labels"]
        self.starts, self.ends = columns["starts"], columns["ends"]
        self.num_frames = columns["num_frames"]
        self._place, self._row = columns["places"], columns["rows"]

    def files(self, index: int) -> tuple[str, ...]:
        return self._choices(self._listed[index], self.labels_of(index))

    def choices(self, rows: NDArray[np.int64], choice: int) -> tuple[NDArray[np.int64], Strings]:
        """The ``rows`` that have a possible file name number ``choice`` (from 0), and these names."""
        if choice == 0 and self._first is not None:
            listed = self._listed.take(rows)
            if len(self._first) == 1:
                return rows, listed if self._first[0] == "" else listed.prefixed(self._first.take(0 * rows))
            return rows, listed.prefixed(self._first.take(self.labels[self.label_starts[rows]]))
        having = array("q")

        def files() -> Iterator[str]:
            for row in map(int, rows):
                of_row = self.files(row)
                if choice < len(of_row):
                    having.append(row)
                    yield of_row[choice]

        names = Strings.of(files())
        return np.array(having, dtype=np.int64), names

    def labels_of(self, index: int) -> tuple[int, ...]:
        return tuple(self.labels[self.label_starts[index] : self.label_starts[index + 1]].tolist())

    def where(self, index: int) -> str:
        place, row = self._places[self._place[index]], int(self._row[index])
        if row == _NO_ROW:
            return place
        return f"{place}{self._listed[index] if row == _AS_LISTED else row}"

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> Entry:
        start, end = float(self.starts[index]), float(self.ends[index])
        frames = int(self.num_frames[index])
        return Entry(
            self.video_ids[index],
            self.files(index),
            self.labels_of(index),
            self.where(index),
            None if isnan(start) else start,
            None if isnan(end) else end,
            None if frames < 0 else frames,
        )


class EntryBuilder:
    """Collects rows one by one; :meth:`entries` returns them as columns.

    Args:
        choices: function (text as listed, labels) -> ``Entry.files``.
        first: if the first choice is a prefix plus the listed text: the prefix for each label, or one for all. (The
            column of first choices is then built in one step.)
    """

    def __init__(self, choices: Choices, first: Sequence[str] | None = None) -> None:
        self._choices, self._first = choices, first
        self._ids: list[str] = []
        self._listed: list[str] = []
        self._columns: tuple[list[Strings], list[Strings]] = ([], [])
        self._same = True  # every id is what is listed
        self._places: dict[str, int] = {}
        kinds = {"starts": "d", "ends": "d", "labels": "i"}
        names = (*kinds, "label_starts", "num_frames", "places", "rows")
        self._numbers: dict[str, Any] = {name: array(kinds.get(name, "q")) for name in names}
        self._numbers["label_starts"].append(0)

    def add(
        self,
        listed: str,
        labels: Iterable[int],
        place: str,
        row: int = _AS_LISTED,
        *,
        video_id: str | None = None,
        start: float = nan,
        end: float = nan,
        num_frames: int = -1,
    ) -> None:
        """Add a row.

        Args:
            listed: the video as listed; also its id, unless ``video_id`` is given.
            place, row: form ``Entry.where`` together; without ``row``, ``place`` and ``listed`` do.
        """
        self._listed.append(listed)
        self._ids.append(listed if video_id is None else video_id)
        self._same &= video_id is None or video_id == listed
        numbers = self._numbers
        numbers["labels"].extend(labels)
        numbers["label_starts"].append(len(numbers["labels"]))
        numbers["starts"].append(start)
        numbers["ends"].append(end)
        numbers["num_frames"].append(num_frames)
        numbers["places"].append(self._places.setdefault(place, len(self._places)))
        numbers["rows"].append(row)
        if len(self._listed) == 1 << 16:
            self._pack()

    def _pack(self) -> None:
        self._columns[0].append(Strings.of(self._listed))
        self._columns[1].append(self._columns[0][-1] if self._same else Strings.of(self._ids))
        self._listed.clear()
        self._ids.clear()

    def entries(self) -> Entries:
        """The added rows."""
        self._pack()
        listed = Strings.join(self._columns[0])
        ids = listed if self._same else Strings.join(self._columns[1])
        return Entries(ids, listed, self._choices, self._first, list(self._places), self._numbers)


def as_entries(rows: Sequence[Entry]) -> Entries:
    """The same rows as columns."""
    if isinstance(rows, Entries):
        return rows
    builder = EntryBuilder(lambda listed, _: tuple(listed.split("\0")))
    for row in rows:
        start, end = (nan if value is None else value for value in (row.start, row.end))
        frames = -1 if row.num_frames is None else row.num_frames
        listed = "\0".join(row.files)
        builder.add(
            listed,
            row.labels,
            row.where,
            _NO_ROW,
            video_id=row.video_id,
            start=start,
            end=end,
            num_frames=frames,
        )
    return builder.entries()


def check_unique(rows: Sequence[Entry]) -> None:
    """Raise ``UserError`` if a video is listed twice."""
    entries = as_entries(rows)
    if len(entries.video_ids.unique()) == len(entries):
        return
    first: dict[str, int] = {}
    for i, video_id in enumerate(entries.video_ids):
        earlier = first.setdefault(video_id, i)
        if earlier != i:
            raise UserError(
                f"{entries.where(i)}: video {video_id} is listed twice (first: {entries.where(earlier)}); "
                "remove or rename one"
            )
