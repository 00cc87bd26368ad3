"""Video files and folders of frames: facts about them, single frames of them by number or by time, and writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names

if TYPE_CHECKING:
    from .reader import FrameFolder, VideoError, VideoInfo, VideoReader, open_video, probe

__all__ = ["FrameFolder", "VideoError", "VideoInfo", "VideoReader", "open_video", "probe"]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "reader"))  # listing.py needs no decoder
