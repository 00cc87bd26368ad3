"""What formats of single images share: which frame of which video an image is, and tracks of boxes with an identity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from ...utils.errors import UserError
from .tracks import AnnotatedTrack, Shape, TrackAnnotations, interpolate_shapes

__all__ = ["FrameImages", "as_text", "frame_images", "texts_at", "track_number", "video_name"]

_EXTENSIONS = r"\.(avi|mkv|mov|mp4|webm)$"
# Attributes that say which person a box shows.
_IDENTITIES = ("track_id", "track", "person_id", "id")


def video_name(path: str) -> str:
    """The name of a video, without folders and the extension of a video file."""
    return re.sub(_EXTENSIONS, "", PurePosixPath(path.replace("\\", "/")).name, flags=re.IGNORECASE)


def as_text(value: Any) -> str:
    """An attribute's value as text: "true" and "false" of a switch."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def track_number(attributes: MutableMapping[str, str], where: str) -> int:
    """Take the identity of a box (``track_id``, ``track``, ``person_id`` or ``id``) out of its attributes.

    Raises:
        UserError: there is none, or it is not a whole number.
    """
    for name in list(attributes):
        if name.lower() in _IDENTITIES:
            text = attributes.pop(name).strip()
            if not re.fullmatch(r"-?\d{1,15}", text):
                raise UserError(
                    f"{where}: {name} is {text!r}, but must be a whole number, one for each person"
                )
            return int(text)
    raise UserError(
        f"{where} does not say which person it is; give each box an attribute track_id, a number for each person"
    )


class FrameImages:
    """Collects images that are frames of videos, and boxes in them.

    Boxes of one identity and label are a track. They are interpolated between annotated images that have no image
    between them.

    Args:
        path: the annotation file, for messages; an image in no folder is of a video that is called as the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: dict[str, set[int]] = {}
        self._shapes: dict[tuple[str, int, str], list[Shape]] = {}

    def place(self, file_name: str, video: str = "", frame: int | None = None) -> tuple[str, int]:
        """Video and frame of an image.

        Args:
            video: its name, where the file says it; otherwise that of the image's folder.
            frame: where the file says it; otherwise the last number in the image's name.

        Raises:
            ValueError: the file name has no number.
        """
        image = PurePosixPath(file_name.replace("\\", "/"))
        if frame is None:
            numbers = re.findall(r"\d+", image.stem)
            if not numbers:
                raise ValueError(f"it has no frame_id, and file_name {file_name!r} has no number")
            frame = int(numbers[-1])
        return video_name(video or image.parent.name or self._path.stem), frame

    def add_image(self, video: str, frame: int, where: str) -> None:
        """Count an image, with boxes or without.

        Raises:
            UserError: there are two of the frame.
        """
        if frame in self._frames.setdefault(video, set()):
            raise UserError(f"{where}: video {video} has two images of frame {frame}; delete one")
        self._frames[video].add(frame)

    def add_box(self, video: str, number: int, label: str, shape: Shape) -> None:
        """Add a box; its image has been added or is added later."""
        self._shapes.setdefault((video, number, label), []).append(shape)

    def tracks(self) -> list[AnnotatedTrack]:
        """The tracks of all boxes."""
        following = {video: dict(pairwise(sorted(frames))) for video, frames in self._frames.items()}
        tracks = []
        for (video, number, label), several in self._shapes.items():
            own = {shape.frame for shape in several}
            # The next image does not show the track: it ends here.
            ends = [
                s._replace(frame=s.frame + 1, outside=True)
                for s in several
                if following[video].get(s.frame) not in own
            ]
            where = f"{self._path}, track {number} of video {video}"
            tracks.append(interpolate_shapes(video, number, label, [*several, *ends], where))
        return [track for track in tracks if len(track.frames)]


def frame_images(
    annotations: TrackAnnotations,
) -> Iterator[tuple[str, int, list[tuple[AnnotatedTrack, int]]]]:
    """All frames of all videos: video, frame, and the tracks that it shows, each with the row of its box."""
    boxes: dict[str, dict[int, list[tuple[AnnotatedTrack, int]]]] = {}
    for track in annotations.tracks:
        shown = boxes.setdefault(track.video, {})
        for row, frame in enumerate(track.frames.tolist()):
            shown.setdefault(frame, []).append((track, row))
    for video, size in annotations.videos.items():
        shown = boxes.get(video, {})
        for frame in range(size.num_frames or max(shown, default=-1) + 1):
            yield video, frame, shown.get(frame, [])


def texts_at(track: AnnotatedTrack, row: int) -> Mapping[str, str]:
    """Values of a track's attributes in one of its frames."""
    return {name: values[row] for name, values in track.attributes.items()}
