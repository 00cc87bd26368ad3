"""A folder of images (frames extracted from a video) read as a video."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .video_container import reason_of
from .video_info import (
    FrameScaler,
    Timing,
    VideoError,
    VideoInfo,
    as_indices,
    as_seconds,
    nearest_frames,
    output_size,
)

__all__ = ["FrameFolder", "natural_key"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


def natural_key(name: str) -> tuple[tuple[str, int], ...]:
    """Sort key under which numbers inside names count as numbers: ``f2.jpg`` before ``f10.jpg``."""
    return tuple((text.casefold(), int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name))


@lru_cache(maxsize=16)
def _image_names(folder: str, modified_ns: int) -> tuple[str, ...]:
    """Names of the images in ``folder`` in natural order, remembered while the folder stays as it is.

    A folder of AVA holds 27,000 images, of which a clip needs a few.
    """
    names = (entry.name for entry in os.scandir(folder))
    return tuple(sorted((n for n in names if n.lower().endswith(_SUFFIXES) and n[0] != "."), key=natural_key))


class FrameFolder:
    """Images of one folder in natural order of their names, shown at a constant rate.

    The same interface as :class:`modist_det.data.video.VideoReader`.

    Args:
        path: folder with ``.jpg``, ``.jpeg`` or ``.png`` files, all of one size.
        fps: images per second; the folder itself does not say.

    Raises:
        VideoError: no such folder, no permission, no image in it; from a method also an image that
            cannot be read or has another size than the first.

    Example::

        with FrameFolder("frames/1j20qq1JyX4", fps=30) as video:
            clip = video.frames_at_indices(range(0, 64, 8), short_side=256)   # uint8 (8, 256, W, 3)
    """

    def __init__(self, path: str | os.PathLike, fps: float | Fraction) -> None:
        self.path = Path(path)
        self.rate = Fraction(fps).limit_denominator(100_000)
        if self.rate <= 0:
            raise VideoError(path, f"fps is {fps}, but must be above 0")
        try:
            self._names = _image_names(str(self.path), self.path.stat().st_mtime_ns)
        except OSError as error:
            raise VideoError(path, reason_of(error)) from error
        if not self._names:
            raise VideoError(path, "no .jpg or .png images in this folder")
        self._scaler = FrameScaler()

    @cached_property
    def info(self) -> VideoInfo:
        """Size of the first image, number of images, rate and duration."""
        height, width = self._load(0).shape[:2]
        timing = Timing(len(self._names), self.rate, float(len(self._names) / self.rate))
        return VideoInfo(width, height, "images", 0, lambda: timing)

    def frames_at_indices(
        self, indices: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """RGB frames uint8 (T, H, W, 3) in the order asked for; see ``VideoReader.frames_at_indices``."""
        wanted = np.minimum(as_indices(indices), len(self._names) - 1)
        first = self._load(int(wanted[0])) if len(wanted) else self._load(0)
        height, width = output_size(first.shape[0], first.shape[1], size, short_side)
        out = np.empty((len(wanted), height, width, 3), dtype=np.uint8)
        for index in np.unique(wanted):
            image = first if index == wanted[0] else self._load(int(index))
            if image.shape != first.shape:
                raise VideoError(
                    self.path / self._names[index],
                    f"it is {image.shape[1]}x{image.shape[0]} pixels, but {self._names[wanted[0]]} is "
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

    def close(self) -> None:
        """Nothing stays open; here so that files and folders can be used alike."""

    def __enter__(self) -> FrameFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _load(self, index: int) -> NDArray[np.uint8]:
        path = self.path / self._names[index]
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
