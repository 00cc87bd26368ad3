"""Tables of keyframes and boxes: one column array per field, one row per row of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .keyframes import IntArray, pack_keyframes

__all__ = ["BoxTable", "KeyTable", "KeyframeColumns", "equal_pairs"]

_Table = TypeVar("_Table", bound="KeyframeColumns")


class KeyframeColumns:
    """Base of tables with a keyframe in each row.

    Attributes:
        videos: video names, indexed by ``video``.
        video: int32 (n,).
        second: float64 (n,), as annotated, in [0, ``MAX_SECOND``].
    """

    videos: tuple[str, ...]
    video: NDArray[np.int32]
    second: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.video)

    def keys(self, numbers: dict[str, int], rows: IntArray | None = None) -> IntArray:
        """The keyframes of the rows, packed with :func:`pack_keyframes`.

        Args:
            numbers: video numbers by name; new videos are added.
            rows: use only these rows.
        """
        codes = np.array([numbers.setdefault(name, len(numbers)) for name in self.videos], dtype=np.int64)
        chosen = slice(None) if rows is None else rows
        return pack_keyframes(codes[self.video[chosen]], self.second[chosen])

    def names(self) -> list[tuple[str, float]]:
        """Video and second of each row."""
        return [(self.videos[v], s) for v, s in zip(self.video.tolist(), self.second.tolist(), strict=True)]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def take(self: _Table, rows: NDArray[np.bool_ | np.integer]) -> _Table:
        """Select rows by index or mask; the ``keyframes`` of a :class:`BoxTable` are all kept."""
        return replace(self, **{name: column[rows] for name, column in self.columns().items()})  # type: ignore[type-var]

    def name(self, row: int) -> str:
        """Video and second of a row, for messages."""
        return f"{self.videos[self.video[row]]},{self.second[row]:g}"


@dataclass(frozen=True, eq=False)
class KeyTable(KeyframeColumns):
    """A table with one keyframe per row.

    Attributes:
        path: file of origin.
        videos: video names, indexed by ``video``.
        video: int32 (n,).
        second: float64 (n,), as annotated, in [0, ``MAX_SECOND``].
        line: int64 (n,), line number in the file, from 1.
    """

    path: str
    videos: tuple[str, ...]
    video: NDArray[np.int32]
    second: NDArray[np.float64]
    line: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        path: str,
        videos: Sequence[str] = (),
        video: ArrayLike = (),
        second: ArrayLike = (),
        line: ArrayLike = (),
    ) -> KeyTable:
        """Build from columns of any dtype; an empty table without columns."""
        numbers, lines = np.asarray(video, np.int32), np.asarray(line, np.int64)
        return cls(path, tuple(videos), numbers, np.asarray(second, np.float64), lines)


@dataclass(frozen=True, eq=False)
class BoxTable(KeyframeColumns):
    """A table with one box per row, in file order.

    Attributes:
        path: file of origin.
        videos: names that ``video`` points into, in order of their first row of either kind.
        video: int32 (n,).
        second: float64 (n,), as annotated, in [0, ``MAX_SECOND``].
        boxes: float64 (n, 4), x1y1x2y2 as fractions of the image's width and height.
        action: int32 (n,), class id from 1; -1 if empty.
        score: float64 (n,); 1 in ground truth.
        person: int32 (n,), person id; -1 for none.
        line: int64 (n,), line number in the file, from 1.
        keyframes: rows without a box (``video, second``): empty keyframes.
    """

    path: str
    videos: tuple[str, ...]
    video: NDArray[np.int32]
    second: NDArray[np.float64]
    boxes: NDArray[np.float64]
    action: NDArray[np.int32]
    score: NDArray[np.float64]
    person: NDArray[np.int32]
    line: NDArray[np.int64]
    keyframes: KeyTable

    @classmethod
    def of(
        cls,
        path: str,
        videos: Sequence[str] = (),
        video: ArrayLike = (),
        second: ArrayLike = (),
        boxes: ArrayLike = (),
        action: ArrayLike = (),
        score: ArrayLike = (),
        person: ArrayLike = (),
        line: ArrayLike = (),
        *,
        keyframes: KeyTable | None = None,
    ) -> BoxTable:
        """Build from columns of any dtype; an empty table without columns."""
        numbers, actions, persons = (np.asarray(column, np.int32) for column in (video, action, person))
        seconds, corners, scores = (np.asarray(column, np.float64) for column in (second, boxes, score))
        lines, names = np.asarray(line, np.int64), tuple(videos)
        bare = KeyTable.of(path, names) if keyframes is None else keyframes
        corners = corners.reshape(-1, 4)
        return cls(path, names, numbers, seconds, corners, actions, scores, persons, lines, bare)


def equal_pairs(a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """All (i, j) with ``a[i] == b[j]``, ascending by i, then j."""
    order = np.argsort(b, kind="stable")
    ordered = b[order]
    first = np.searchsorted(ordered, a, "left")
    count = np.searchsorted(ordered, a, "right") - first
    i = np.repeat(np.arange(len(a)), count)
    return i, order[np.arange(len(i)) - np.repeat(np.cumsum(count) - count - first, count)]
