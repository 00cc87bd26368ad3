"""Read video files and frame folders (facts, frames by number or time), and write videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names

if TYPE_CHECKING:
    from .reader import FrameFolder, VideoError, VideoInfo, VideoReader, open_video, probe

__all__ = ["FrameFolder", "VideoError", "VideoInfo", "VideoReader", "open_video", "probe"]

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, "reader"))  # listing.py needs no decoder
