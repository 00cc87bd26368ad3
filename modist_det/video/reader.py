"""One interface for video files and frame folders: open, read frames, close."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import VideoError, reason_of
from .file import VideoReader
from .frame_folder import FrameFolder
from .info import VideoInfo
from .packed import status

if TYPE_CHECKING:
    from .frame_cache import CachedFrames

__all__ = ["FrameFolder", "VideoError", "VideoInfo", "VideoReader", "describe_source", "open_video", "probe"]


def open_video(
    path: str | os.PathLike[str], fps: float | Fraction | None = None
) -> VideoReader | FrameFolder:
    """Open a video file, or a folder of images with frame rate ``fps``.

    ``fps`` is required for folders and ignored for files, which store their times.

    Raises:
        VideoError: the path does not exist or cannot be read, or is a folder and ``fps`` is missing.

    Example::

        with open_video("clip.mp4") as video:
            frames = video.frames_at_indices([0, 10, 20])  # uint8 (3, H, W, 3), RGB
    """
    try:
        is_folder = Path(path).is_dir()
    except OSError as error:
        raise VideoError(path, reason_of(error)) from error
    if not is_folder:
        return VideoReader(path)
    if fps is None:
        raise VideoError(path, "it is a folder of images; give their frame rate (fps)")
    return FrameFolder(path, fps)


def probe(path: str | os.PathLike[str], fps: float | Fraction | None = None) -> VideoInfo:
    """Facts about a video file or a folder of images, with its frames counted.

    Reads through a file without decoding it, apart from its first frame: milliseconds for a clip, tens of
    milliseconds for a video of minutes.

    Raises:
        VideoError: as :func:`open_video`.
    """
    with open_video(path, fps) as video:
        _ = video.info.num_frames
        return video.info


def describe_source(video: VideoReader | FrameFolder | CachedFrames) -> str:
    """A text that changes when a video is replaced: frame size, and number of bytes or of images."""
    size = f"{video.info.width}x{video.info.height} pixels"
    if video.info.codec == "images":
        return f"a folder of {video.info.num_frames} images of {size} at {video.info.rate} a second"
    return f"a file of {status(video.path)[0]} bytes with {size}"
