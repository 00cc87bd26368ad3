"""A folder of images (frames extracted from a video) read as a video.

The numbers in the file names determine the frame numbers:

- Frames are one series of names, ``PREFIX + NUMBER + ENDING``: ``img_00001.jpg``, ``frame_12.png``, ``000001.JPG``,
  ``VIDEO_000001.jpg``. The number is the last one in the name; zeros before it do not count.
- A number that is missing between two others, two images with one number, a second series, and images without a
  number are errors that say what was found. ``flow_x_*`` and ``flow_y_*`` are optical flow, which mmaction2 and
  denseflow write beside the frames: they are left out.
- The lowest number is the first frame, second 0. Where it is neither 0 nor 1 a warning says so: the images before it
  may be missing, or not.
- A list that names the images (:class:`.frame_list.ListedFolder`) takes the place of all this.
"""

from __future__ import annotations

import logging
import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import reason_of
from .frame_list import ListedFolder
from .frame_times import as_indices, as_seconds, nearest_frames
from .info import FrameScaler, Timing, VideoError, VideoInfo, output_size
from .listing import IMAGE_EXTENSIONS, is_hidden, natural_key

__all__ = ["FrameFolder", "natural_key"]

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)
_FLOW = ("flow_x_", "flow_y_")
_LISTED = 5  # names in one message
_doubted: list[Path] = []  # the folder about which this process has warned


class _Series(NamedTuple):
    """The images of a folder in order; ``numbers`` is empty where they count up without a gap."""

    names: tuple[str, ...]
    first: int = 0
    numbers: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Frames, missing ones included."""
        return self.numbers[-1] - self.first + 1 if self.numbers else len(self.names)


@lru_cache(maxsize=16)
def _series(folder: str, modified_ns: int) -> _Series:
    """The series of images in ``folder``, cached while the folder is unchanged.

    A folder of AVA has 27,000 images, but a clip needs only a few.
    """
    series: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    strangers = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            stem, dot, kind = name.rpartition(".")
            ending = f"{dot}{kind}".lower()
            if ending not in IMAGE_EXTENSIONS or is_hidden(name):
                continue
            match = _NUMBERED.fullmatch(stem)
            if match is None:
                strangers.append(name)
            else:
                series[match[1], match[3] + ending].append((int(match[2]), name))
    if len(series) > 1:
        series = defaultdict(list, {key: of for key, of in series.items() if key[0] not in _FLOW}) or series
    _check_one_series(folder, series, sorted(strangers))
    ((_, images),) = series.items()
    images.sort()
    numbers, names = zip(*images, strict=True)
    for k in range(len(images) - 1):
        if numbers[k] == numbers[k + 1]:
            raise VideoError(
                folder, f"{names[k]} and {names[k + 1]} have the same number; remove or rename one"
            )
    has_gap = numbers[-1] - numbers[0] + 1 > len(numbers)
    return _Series(names, numbers[0], numbers if has_gap else ())


def _check_one_series(
    folder: str, series: dict[tuple[str, str], list[tuple[int, str]]], strangers: Sequence[str]
) -> None:
    found = [
        f"{prefix}*{ending} ({_count(len(images), 'image')})"
        for (prefix, ending), images in sorted(series.items())
    ]
    if not found and not strangers:
        raise VideoError(folder, "no .jpg or .png images in this folder")
    listed = f"{', '.join(strangers[:_LISTED])}{', ...' if len(strangers) > _LISTED else ''}"
    if not found:
        raise VideoError(
            folder,
            f"the images have no numbers ({listed}), so nothing says which frame each is; name them like img_00001.jpg",
        )
    if len(found) > 1:
        more = ", ..." if len(found) > _LISTED else ""
        mend = "frames are one series, so put the others into other folders"
        if max(map(len, series.values())) == 1:  # frame_0001_640x480.jpg
            mend = "the last number in a name is taken for the frame's; rename the images so that it is"
        raise VideoError(folder, f"{len(found)} series of names: {', '.join(found[:_LISTED])}{more}; {mend}")
    if strangers:
        raise VideoError(
            folder,
            f"beside the frames {found[0]} there {_are(len(strangers), 'image')} without a number ({listed}); put "
            f"{'it' if len(strangers) == 1 else 'them'} into another folder",
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _are(number: int, what: str) -> str:
    return f"{'is' if number == 1 else 'are'} {_count(number, what)}"


@lru_cache(maxsize=16)
def _listed_names(folder: ListedFolder, fingerprint: str) -> tuple[str, ...]:
    return folder.names


class FrameFolder(AbstractContextManager["FrameFolder"]):
    """Reads the images of one folder in order of their numbers, at a constant frame rate.

    Has the interface of :class:`modist_det.video.reader.VideoReader`. File names are described in the module's
    docstring.

    Args:
        path: folder with ``.jpg``, ``.jpeg`` or ``.png`` files, all of one size; a :class:`ListedFolder` also
            lists or counts them.
        fps: images per second.

    Raises:
        VideoError: no such folder, no permission, no image in it, images that are not one series, or not as many as
            listed; from ``info`` also numbers that are missing; from a method also an image that is missing, cannot be
            read or has another size than the first.

    Example::

        with FrameFolder("frames/1j20qq1JyX4", fps=30) as video:
            clip = video.frames_at_indices(range(0, 64, 8), short_side=256)   # uint8 (8, 256, W, 3)
    """

    def __init__(self, path: str | os.PathLike[str], fps: float | Fraction) -> None:
        self.path = Path(path)
        self.rate = Fraction(fps).limit_denominator(100_000)
        if self.rate <= 0:
            raise VideoError(path, f"fps is {fps}, but must be above 0")
        listed = path if isinstance(path, ListedFolder) else ListedFolder(path)
        names = _listed_names(listed, listed.fingerprint())
        try:
            modified = self.path.stat().st_mtime_ns
            self._series = _Series(names) if names else _series(str(self.path), modified)
        except OSError as error:
            raise VideoError(path, reason_of(error)) from error
        self._names = self._series.names
        if listed.num_images is not None and listed.num_images != len(self._names):
            raise VideoError(
                path,
                f"it has {_count(len(self._names), 'image')}, but the annotations list {listed.num_images}",
            )
        self.is_listed = bool(names)
        self._scaler = FrameScaler()

    @property
    def doubts(self) -> str:
        """A warning about the series, which may be intended; "" if there is none."""
        if self.is_listed or self._series.first in (0, 1):
            return ""
        return (
            f"{self.path}: the lowest number is that of {self._names[0]}, which counts as the first frame (second 0); "
            "are images before it missing?"
        )

    @cached_property
    def info(self) -> VideoInfo:
        """Size of the first image, number of images, rate and duration.

        Raises:
            VideoError: numbers are missing between those of the images.
        """
        self._check_no_gap()
        if self.doubts and not _doubted:
            _doubted.append(self.path)
            logger.warning("%s (further folders like this are not reported)", self.doubts)
        height, width = self._load(0).shape[:2]
        timing = Timing(len(self._names), self.rate, float(len(self._names) / self.rate))
        return VideoInfo(width, height, "images", 0, lambda: timing)

    def check(self) -> None:
        """Check that the listed images exist, without opening them.

        Raises:
            VideoError: some are missing.
        """
        if self.is_listed:
            with os.scandir(self.path) as entries:
                there = {entry.name for entry in entries}
            missing = [name for name in self._names if name not in there]
            if missing:
                raise VideoError(
                    self.path,
                    f"{len(missing)} of {len(self._names)} listed images are missing, for example {missing[0]}",
                )

    def frames_at_indices(
        self, indices: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """RGB frames uint8 (T, H, W, 3) in the order asked for; see ``VideoReader.frames_at_indices``."""
        wanted = np.minimum(as_indices(indices), self._series.length - 1)
        first = self._load(int(wanted[0])) if len(wanted) else self._load(0)
        height, width = output_size(first.shape[0], first.shape[1], size, short_side)
        out = np.empty((len(wanted), height, width, 3), dtype=np.uint8)
        for index in np.unique(wanted).tolist():
            image = first if index == wanted[0] else self._load(int(index))
            if image.shape != first.shape:
                raise VideoError(
                    self.path / self._name(index),
                    f"it is {image.shape[1]}x{image.shape[0]} pixels, but {self._name(wanted[0])} is "
                    f"{first.shape[1]}x{first.shape[0]}",
                )
            if (height, width) != image.shape[:2]:
                # The scaler of video files, so that a clip looks the same from either source.
                image = self._scaler(av.VideoFrame.from_ndarray(image, format="rgb24"), height, width)
            out[wanted == index] = image
        return out

    def frames_at_times(
        self, seconds: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """RGB frames uint8 (T, H, W, 3) nearest to each time; image ``i`` stands at ``i / fps`` seconds."""
        indices = nearest_frames(as_seconds(seconds), self.rate)
        return self.frames_at_indices(indices, size, short_side)

    def all_frames(self, size: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """Every frame uint8 (H, W, 3), in order."""
        for index in range(self.info.num_frames):
            yield self.frames_at_indices([index], size)[0]

    def close(self) -> None:
        """Nothing to close; for the same interface as files."""

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _name(self, index: int) -> str:
        """The image that is frame ``index``."""
        numbers = self._series.numbers
        if not numbers:
            return self._names[index]
        place = bisect_left(numbers, self._series.first + index)
        if numbers[place] != self._series.first + index:
            self._check_no_gap()
        return self._names[place]

    def _check_no_gap(self) -> None:
        numbers, names = self._series.numbers, self._names
        if not numbers:
            return
        gaps = [k for k in range(len(numbers) - 1) if numbers[k + 1] > numbers[k] + 1]
        count = numbers[gaps[0] + 1] - numbers[gaps[0]] - 1
        total = self._series.length - len(numbers)
        more = f" ({total} in {len(gaps)} such places)" if len(gaps) > 1 else ""
        raise VideoError(
            self.path,
            f"{_count(count, 'number')} {'is' if count == 1 else 'are'} missing between {names[gaps[0]]} and "
            f"{names[gaps[0] + 1]}{more}; extract or copy its frames again, or renumber them if nothing is missing",
        )

    def _load(self, index: int) -> NDArray[np.uint8]:
        path = self.path / self._name(index)
        try:
            data = np.fromfile(path, dtype=np.uint8)  # cv2.imread prints its complaints
        except OSError as error:
            raise VideoError(path, reason_of(error)) from error
        if not data.size:
            raise VideoError(path, "the file is empty (0 bytes)")
        # A JPEG without its end marker is cut off; the decoder would fill the rest with grey.
        if path.suffix.lower() != ".png" and b"\xff\xd9" not in data.tobytes():
            raise VideoError(path, "not a JPEG image, or one that is cut off")
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if image is None:
            raise VideoError(path, "not an image, or a damaged one")
        return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)  # OpenCV has BGR
