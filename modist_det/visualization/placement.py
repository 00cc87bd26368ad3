"""Find places for the labels of boxes: no label covers another one or a head, and those without room are left out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import area, intersection

__all__ = ["HEAD_SHARE", "Label", "Place", "Placer", "head_regions"]

Floats = NDArray[np.float64]

HEAD_SHARE = 0.3  # upper part of a person's box, which no label covers

# Costs, in units of each other. A row is the height of a label's smallest version.
_PER_RANK = 0.1  # of a position further down in the list of positions
_OWN_BODY, _OTHER_BODY = 1.5, 3.0  # of a label that lies entirely on it
_PER_ROW = 0.15  # of distance from the box
_LEADER = 1.0
_MOVED = 0.8  # another position than in the frame before
_GROWTH = 1.0  # by which a larger version of a label may be worse placed than a smaller one
_NEAR_ENOUGH = 2.0  # no search in the rest of the image where a position at the box costs less

# Positions at the box: where the label's left and upper edge are, as shares of the box and of the label.
# (x of box, x of label, y of box, y of label); x = x1 + share * width - share * label width.
_ABOVE = [(0.0, 0.0, 0.0, 1.0), (0.5, 0.5, 0.0, 1.0), (1.0, 1.0, 0.0, 1.0)]
_BELOW = [(0.0, 0.0, 1.0, 0.0), (0.5, 0.5, 1.0, 0.0), (1.0, 1.0, 1.0, 0.0)]
_BESIDE = [
    *((1.0, 0.0, y, y) for y in (0.0, 0.5, 1.0)),
    *((0.0, 1.0, y, y) for y in (0.0, 0.5, 1.0)),
]
_INSIDE = [
    *((x, x, 1.0, 1.0) for x in (0.0, 0.5, 1.0)),
    *((x, x, HEAD_SHARE, 0.0) for x in (0.0, 0.5, 1.0)),
]
_NEAR = {
    False: np.array([*_ABOVE, *_BESIDE, *_BELOW, *_INSIDE]),
    True: np.array([*_BELOW, *_BESIDE, *_ABOVE, *_INSIDE]),
}


@dataclass(frozen=True)
class Label:
    """What is to be placed.

    Attributes:
        key: identifies it in the next frame.
        box: x1, y1, x2, y2 in pixels; labels of larger boxes are placed first.
        sizes: (width, height) of its versions in pixels, smallest first; empty: the box has no label, only a head.
        below: below the box is better than above it.
    """

    key: Hashable
    box: Sequence[float]
    sizes: Sequence[tuple[int, int]]
    below: bool = False


@dataclass(frozen=True)
class Place:
    """Where a label is.

    Attributes:
        size: index of its version.
        box: x1, y1, x2, y2 in whole pixels; the right and lower edge are outside.
        leader: ends (2, 2) of the line from the label to its box, x and y; None where they touch.
    """

    size: int
    box: tuple[int, int, int, int]
    leader: tuple[tuple[int, int], tuple[int, int]] | None = None


def head_regions(boxes: Floats) -> Floats:
    """The upper parts (N, 4) of boxes (N, 4): where a face may be."""
    heads = boxes.copy()
    heads[:, 3] = boxes[:, 1] + HEAD_SHARE * (boxes[:, 3] - boxes[:, 1])
    return heads


@dataclass
class _Found:
    """A label's place, with what the next frame needs to know."""

    place: Place
    cost: float
    number: int  # of the position at the box; -1: elsewhere
    offset: Floats  # of the upper left corner from that of the box


class Placer:
    """Places the labels of the frames of a video, calmly: a label keeps its position at the box while that is good.

    Versions grow in turns: all labels get their smallest version first, then the next one where there is room, so that
    nobody's third row costs somebody else their first. The result depends only on the labels of this frame and the
    positions in the frame before.
    """

    def __init__(self) -> None:
        self._before: dict[Hashable, _Found] = {}

    def __call__(
        self, labels: Sequence[Label], height: int, width: int, reserved: Sequence[Sequence[float]] = ()
    ) -> list[Place | None]:
        """The places of the labels in an image of ``height`` and ``width``; None for those without room.

        Args:
            reserved: boxes in pixels that must stay free, such as that of the time.
        """
        boxes = np.array([label.box for label in labels], np.float64).reshape(-1, 4)
        fixed = np.concatenate([head_regions(boxes), np.array(reserved, np.float64).reshape(-1, 4)])
        by_size = np.argsort(-area(boxes), kind="stable").tolist()
        found: dict[int, _Found] = {}
        for level in range(max((len(label.sizes) for label in labels), default=0)):
            for i in by_size:
                label = labels[i]
                if level >= len(label.sizes) or (
                    level and (i not in found or found[i].place.size < level - 1)
                ):
                    continue
                others = [other for j, other in found.items() if j != i]
                search = _Search(label, level, np.delete(boxes, i, 0), fixed, others, (height, width))
                best = search.best(self._before.get(label.key))
                if best is not None and (i not in found or best.cost <= found[i].cost + _GROWTH):
                    found[i] = best
        self._before = {labels[i].key: one for i, one in found.items()}
        return [found[i].place if i in found else None for i in range(len(labels))]


class _Search:
    """One version of one label among obstacles."""

    def __init__(
        self,
        label: Label,
        level: int,
        bodies: Floats,
        fixed: Floats,
        others: Sequence[_Found],
        size: tuple[int, int],
    ) -> None:
        self._label, self._level = label, level
        self._box = np.array(label.box, np.float64)
        self._bodies = bodies
        taken = np.array([one.place.box for one in others], np.float64).reshape(-1, 4)
        self._obstacles = np.concatenate([fixed, taken])
        self._leaders = np.array(
            [one.place.leader for one in others if one.place.leader], np.float64
        ).reshape(-1, 4)
        self._room = np.array([size[1], size[0]], np.float64)
        self._size = np.array(label.sizes[level], np.float64)
        self._row = float(label.sizes[0][1])

    def best(self, before: _Found | None) -> _Found | None:
        if (self._size > self._room).any():
            return None
        rules = _NEAR[self._label.below]
        x1, y1, x2, y2 = self._box
        corners = np.stack(
            [
                x1 + rules[:, 0] * (x2 - x1) - rules[:, 1] * self._size[0],
                y1 + rules[:, 2] * (y2 - y1) - rules[:, 3] * self._size[1],
            ],
            axis=1,
        )
        best = self._choose(corners, True, before)
        if best is None or best.cost > _NEAR_ENOUGH:
            far = self._choose(self._everywhere(before), False, before)
            if far is not None and (best is None or far.cost < best.cost):
                return far
        return best

    def _everywhere(self, before: _Found | None) -> Floats:
        """Corners all over the image, and the one at the same distance from the box as in the frame before."""
        steps = np.maximum(np.array([self._size[0] / 2, self._row]), self._room / 40)
        xs, ys = (
            np.arange(0, room - size + 1, step)
            for room, size, step in zip(self._room, self._size, steps, strict=True)
        )
        corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        if before is None:
            return corners
        return np.concatenate([(self._box[:2] + before.offset)[None], corners])

    def _choose(self, corners: Floats, near: bool, before: _Found | None) -> _Found | None:
        """The best of the corners (M, 2), which are moved into the image; None if none is free.

        Args:
            near: they are the positions at the box, in order.
        """
        corners = np.clip(corners, 0, self._room - self._size).round()
        places = np.hstack([corners, corners + self._size])
        free = np.flatnonzero(~(intersection(places[:, None], self._obstacles) > 0).any(axis=1))
        free = free[~_lines_cross(self._leaders[:, :2], self._leaders[:, 2:], places[free]).any(axis=0)]
        starts, ends = _shortest_lines(places[free], self._box)
        distance = np.hypot(*(starts - ends).T)
        has_leader = distance > self._row / 2
        clear = ~has_leader
        clear[has_leader] = ~_lines_cross(starts[has_leader], ends[has_leader], self._obstacles).any(axis=1)
        if not clear.any():
            return None
        on_others = intersection(places[free][:, None], self._bodies).sum(axis=1) / self._size.prod()
        cost = (
            _OTHER_BODY * np.minimum(on_others, 1.0) + _PER_ROW * distance / self._row + _LEADER * has_leader
        )
        cost += _OWN_BODY * intersection(places[free], self._box) / self._size.prod()
        cost += _PER_RANK * free if near else 0.0
        if before is not None:
            moved = np.abs(corners[free] - self._box[:2] - before.offset).max(axis=1) > 1
            cost += _MOVED * (free != before.number if near else moved)
        best = int(np.where(clear, cost, np.inf).argmin())
        x1, y1, x2, y2 = places[free[best]].astype(int).tolist()
        ax, ay, bx, by = np.concatenate([starts[best], ends[best]]).round().astype(int).tolist()
        return _Found(
            Place(self._level, (x1, y1, x2, y2), ((ax, ay), (bx, by)) if has_leader[best] else None),
            float(cost[best]),
            int(free[best]) if near else -1,
            corners[free[best]] - self._box[:2],
        )


def _shortest_lines(places: Floats, box: Floats) -> tuple[Floats, Floats]:
    """Ends (M, 2) of the shortest lines from the places (M, 4) to the box (4,); equal where they overlap."""
    low, high = np.maximum(places[:, :2], box[:2]), np.minimum(places[:, 2:], box[2:])
    middle = (low + high) / 2  # of the shared range of an axis, where there is one
    starts = np.where(low <= high, middle, np.clip(box[:2], places[:, :2], places[:, 2:]))
    return starts, np.where(low <= high, middle, np.clip(starts, box[:2], box[2:]))


def _lines_cross(starts: Floats, ends: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """(M, N): whether the lines from (M, 2) to (M, 2) go through the inside of the boxes (N, 4)."""
    step = (ends - starts)[:, None]
    step = np.where(step == 0, 1e-9, step)
    one, other = (boxes[None, :, :2] - starts[:, None]) / step, (boxes[None, :, 2:] - starts[:, None]) / step
    enters = np.minimum(one, other).max(axis=2)
    leaves = np.maximum(one, other).min(axis=2)
    return (enters < leaves) & (enters < 1) & (leaves > 0)
