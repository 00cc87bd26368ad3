"""Video files and folders of frames: facts about them, single frames of them by number or by time, and writing them."""

from .reader import FrameFolder, VideoError, VideoInfo, VideoReader, open_video, probe

__all__ = ["FrameFolder", "VideoError", "VideoInfo", "VideoReader", "open_video", "probe"]
