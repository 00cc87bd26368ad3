"""Annotated tracks of videos: the form that all annotation formats are read into and written from.

Frames count from 0, boxes are x1y1x2y2 in pixels.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...structures.keyframes import IntArray
from ...structures.tubes import VideoSize
from ...utils.errors import UserError, nearest
from ...utils.json_reading import malformed

__all__ = [
    "AnnotatedTrack",
    "Shape",
    "Sizes",
    "TrackAnnotations",
    "from_tubes",
    "interpolate_shapes",
    "runs_of",
    "thinned",
    "to_tubes",
    "unknown_size",
]

logger = logging.getLogger(__name__)

_MAX_FRAMES = 10_000_000  # of a track; two days at 60 frames per second
# Values of an attribute that mean that there is no action.
_NO_ACTION = frozenset({"", "0", "false", "n/a", "no", "none", "undefined", "__undefined__"})


@dataclass(frozen=True, eq=False)
class AnnotatedTrack:
    """One person or object.

    Attributes:
        video: name of the video.
        number: identity within the video.
        label: class of the object, such as "person".
        frames: int64 (m,), ascending; frames in which it is outside are missing.
        boxes: float64 (m, 4).
        drawn: bool (m,); False where the box is interpolated.
        attributes: value in each of the m frames by attribute; "" for none.
    """

    video: str
    number: int
    label: str
    frames: IntArray
    boxes: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def actions(self, attributes: Collection[str] | None = None) -> dict[str, NDArray[np.bool_]]:
        """In which frames each action takes place: bool (m,) by name.

        The action of an attribute with the value "true" is the attribute's name, that of any other its value. A track
        that has none of the attributes has its label as action.

        Args:
            attributes: those that are actions (default: all).
        """
        chosen = {n: v for n, v in self.attributes.items() if attributes is None or n in attributes}
        if not chosen:
            return {self.label: np.ones(len(self.frames), bool)}
        found: dict[str, NDArray[np.bool_]] = {}
        for name, values in chosen.items():
            for value in dict.fromkeys(values):
                if value.strip().lower() not in _NO_ACTION:
                    action = name if value.lower() == "true" else value
                    here = np.array([other == value for other in values])
                    found[action] = found.get(action, False) | here
        return found


@dataclass(frozen=True)
class TrackAnnotations:
    """Videos by name and the tracks of all of them. A width or height of 0 is unknown."""

    videos: Mapping[str, VideoSize]
    tracks: Sequence[AnnotatedTrack]


Sizes = Callable[[str], VideoSize]


def unknown_size(video: str) -> VideoSize:
    """What readers call for files whose times or boxes need the video's frame rate or size.

    Raises:
        UserError: always.
    """
    raise UserError(f"the size and frame rate of video {video} are needed to read its annotations")


class Shape(NamedTuple):
    """A box of a track at one frame; if ``outside``, the track is absent from there to the next shape."""

    frame: int
    box: Sequence[float]
    attributes: Mapping[str, str] = {}
    outside: bool = False
    drawn: bool = True


def interpolate_shapes(
    video: str, number: int, label: str, shapes: Iterable[Shape], where: str, end: int = 0
) -> AnnotatedTrack:
    """A track with a box in each frame: linear between shapes, with the attributes of the shape before.

    Args:
        where: file and track, for messages.
        end: the last box, if not outside, is held up to this frame (not included).

    Raises:
        UserError: two shapes are at one frame, a frame is negative or beyond any video, or a box is not finite or has
            no area.
    """
    ordered = sorted(shapes, key=lambda shape: shape.frame)
    for shape in ordered:
        x1, y1, x2, y2 = shape.box
        if not shape.outside and not _has_area(shape.box):
            raise UserError(
                f"{where}, frame {shape.frame}: the box {x1:g}, {y1:g}, {x2:g}, {y2:g} is empty or not finite; "
                "correct or delete it"
            )
        if shape.frame < 0:
            raise UserError(
                f"{where}: frame {shape.frame} is negative; frames count from the video's first one"
            )
    if ordered and max(ordered[-1].frame, end) > _MAX_FRAMES:
        raise UserError(
            f"{where}: frame {max(ordered[-1].frame, end)} is beyond the {_MAX_FRAMES:,} that a video may have"
        )
    for first, second in zip(ordered, ordered[1:], strict=False):
        if first.frame == second.frame:
            raise UserError(f"{where}: there are two boxes at frame {first.frame}; delete one of them")
    names = dict.fromkeys(name for shape in ordered for name in shape.attributes)
    frames: list[IntArray] = [np.zeros(0, np.int64)]
    boxes: list[NDArray[np.float64]] = [np.zeros((0, 4))]
    drawn: list[bool] = []
    values: dict[str, list[str]] = {name: [] for name in names}
    for index, shape in enumerate(ordered):
        if shape.outside:
            continue
        if index + 1 < len(ordered):
            until, last = ordered[index + 1].frame, ordered[index + 1].box
        else:
            until, last = max(shape.frame + 1, end), shape.box
        if not _has_area(last):  # some tools write zeros where a track is outside
            last = shape.box
        count = until - shape.frame
        share = np.arange(count)[:, None] / count
        start = np.asarray(shape.box, np.float64)
        frames.append(np.arange(shape.frame, until))
        boxes.append(start + share * (np.asarray(last, np.float64) - start))
        drawn += [shape.drawn] + [False] * (count - 1)
        for name in names:
            values[name] += [shape.attributes.get(name, "")] * count
    return AnnotatedTrack(
        video,
        number,
        label,
        np.concatenate(frames),
        np.concatenate(boxes),
        np.array(drawn, bool),
        {name: tuple(column) for name, column in values.items()},
    )


def _has_area(box: Sequence[float]) -> bool:
    x1, y1, x2, y2 = box
    return bool(np.isfinite(box).all() and x2 > x1 and y2 > y1)


def runs_of(frames: IntArray) -> list[slice]:
    """The parts of ascending frames without a gap."""
    starts = np.flatnonzero(np.diff(frames, prepend=-2) != 1).tolist() if len(frames) else []
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(frames)], strict=True)]


def thinned(track: AnnotatedTrack, tolerance: float) -> AnnotatedTrack:
    """The track with as few drawn boxes as needed; all others are interpolated and differ by at most ``tolerance``
    pixels from before. Boxes are drawn at the ends of runs, and where an attribute changes."""
    drawn = np.zeros(len(track.frames), bool)
    boxes = track.boxes.copy()
    rows = list(zip(*track.attributes.values(), strict=True))
    for run in runs_of(track.frames):
        fixed = [
            run.start,
            *(r for r in range(run.start + 1, run.stop - 1) if rows and rows[r] != rows[r - 1]),
        ]
        waiting = list(itertools.pairwise([*fixed, run.stop - 1]))
        while waiting:
            first, last = waiting.pop()
            drawn[[first, last]] = True
            if last - first < 2:
                continue
            share = np.linspace(0, 1, last - first + 1)[:, None]
            between = track.boxes[first] + share * (track.boxes[last] - track.boxes[first])
            error = np.abs(between - track.boxes[first : last + 1]).max(axis=1)
            if error.max() > tolerance:
                middle = first + int(error.argmax())
                waiting += [(first, middle), (middle, last)]
            else:
                boxes[first + 1 : last] = between[1:-1]
    return replace(track, boxes=boxes, drawn=drawn)


def to_tubes(annotations: TrackAnnotations, attributes: Collection[str] | None = None) -> dict[str, Any]:
    """The content of a ``tubes.json`` (``format: tubes``): a tube for each action of a track, without gaps.

    Boxes are clipped to the image, with a warning.

    Args:
        attributes: as for :meth:`AnnotatedTrack.actions`.

    Raises:
        UserError: no track has such an attribute, a video's size or frame rate is unknown, a frame is after the
            video's end, or a box is completely outside the image.
    """
    known = dict.fromkeys(name for track in annotations.tracks for name in track.attributes)
    for name in attributes or ():
        if name not in known:
            there = ", ".join(known) or "none"
            raise UserError(
                f"no track has an attribute {name!r}{nearest(name, known)} (attributes are {there})"
            )
    content: dict[str, Any] = {}
    for name, size in annotations.videos.items():
        lacks = "size" if not size.width or not size.height else "frame rate" if not size.fps else ""
        if lacks:
            raise UserError(
                f"the {lacks} of video {name} is unknown; give the folder of videos (--videos) or --fps"
            )
        last = max((int(t.frames[-1]) for t in annotations.tracks if t.video == name), default=-1)
        length = size.num_frames or last + 1
        content[name] = {**size._asdict(), "num_frames": length, "tubes": []}
    clipped = 0
    for track in annotations.tracks:
        size = annotations.videos[track.video]
        where = f"video {track.video}, track {track.number}"
        if track.frames[-1] >= content[track.video]["num_frames"]:
            raise UserError(
                f"{where}: frame {track.frames[-1]} is after the video's end (it has {size.num_frames} frames, "
                "from 0); are the annotations those of another video or frame rate?"
            )
        scale = np.array([size.width, size.height] * 2, np.float64)
        boxes = (track.boxes / scale).clip(0, 1)
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        if empty.any():
            raise UserError(
                f"{where}, frame {track.frames[empty.argmax()]}: the box is outside the image of {size.width} x "
                f"{size.height} pixels; mark the track as outside there"
            )
        clipped += int((abs(boxes * scale - track.boxes) > 0.5).any(axis=1).sum())
        for action, here in track.actions(attributes).items():
            frames, corners = track.frames[here], boxes[here]
            content[track.video]["tubes"] += [
                {
                    "label": action,
                    "track": track.number,
                    "start_frame": int(frames[run][0]),
                    "end_frame": int(frames[run][-1]) + 1,
                    "boxes": corners[run].round(6).tolist(),
                }
                for run in runs_of(frames)
            ]
    if clipped:
        logger.warning("%d boxes reach beyond the image by more than half a pixel and were clipped", clipped)
    if not any(entry["tubes"] for entry in content.values()):
        raise UserError("the annotations have no action: no track, or no attribute with a value")
    return content


def from_tubes(content: Mapping[str, Any]) -> TrackAnnotations:
    """Tracks of a ``tubes.json``: the inverse of :func:`to_tubes`.

    Tubes of one ``track`` are one person, whose actions are attributes that are "true" or "false". A tube without
    ``track`` is a person of its own.

    Raises:
        UserError: tubes of one track have different boxes at one frame, or a tube is malformed.
    """
    videos, tracks = {}, []
    for name, entry in content.items():
        with malformed(f"video {name}"):
            size = videos[name] = VideoSize(
                int(entry["width"]), int(entry["height"]), int(entry["num_frames"]), float(entry["fps"])
            )
            scale = np.array([size.width, size.height] * 2, np.float64)
            people: dict[int, list[Any]] = {}
            taken = {int(tube["track"]) for tube in entry["tubes"] if "track" in tube}
            free = (number for number in itertools.count(1) if number not in taken)
            for tube in entry["tubes"]:
                people.setdefault(int(tube["track"]) if "track" in tube else next(free), []).append(tube)
            for number, tubes in people.items():
                tracks.append(_person(name, number, tubes, scale))
    return TrackAnnotations(videos, tracks)


def _person(
    video: str, number: int, tubes: Sequence[Mapping[str, Any]], scale: NDArray[np.float64]
) -> AnnotatedTrack:
    actions = dict.fromkeys(str(tube["label"]) for tube in tubes)
    boxes: dict[int, list[float]] = {}
    here: dict[str, set[int]] = {action: set() for action in actions}
    for tube in tubes:
        frames = range(int(tube["start_frame"]), int(tube["end_frame"]))
        for frame, box in zip(frames, tube["boxes"], strict=True):
            if boxes.setdefault(frame, box) != box:
                raise UserError(
                    f"video {video}: tubes of track {number} have different boxes at frame {frame}"
                )
        here[str(tube["label"])] |= set(frames)
    ordered = sorted(boxes)
    return AnnotatedTrack(
        video,
        number,
        "person",
        np.array(ordered, np.int64),
        np.array([boxes[frame] for frame in ordered], np.float64).reshape(-1, 4) * scale,
        np.ones(len(ordered), bool),
        {
            action: tuple("true" if frame in there else "false" for frame in ordered)
            for action, there in here.items()
        },
    )
