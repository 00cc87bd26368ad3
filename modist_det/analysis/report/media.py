"""Frames and short clips as data URIs."""

from __future__ import annotations

import base64
import io

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from ...video.reader import FrameFolder, VideoReader
from ...video.scaling import tag_bt709, to_bt709
from ...visualization.keyframes import Image

__all__ = ["clip_uri", "frame_uri"]

_JPEG_QUALITY = 80
_RATE = 12  # frames per second of a clip


def frame_uri(frame: Image, width: int) -> str:
    """A JPEG of the frame, at most ``width`` pixels wide."""
    if frame.shape[1] > width:
        height = max(1, round(frame.shape[0] * width / frame.shape[1]))
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    assert encoded
    return _uri("image/jpeg", data.tobytes())


def clip_uri(video: VideoReader | FrameFolder, middle: float, seconds: float, width: int) -> str:
    """An H.264 mp4 of ``seconds`` around ``middle`` (in the video's time), at most ``width`` pixels wide."""
    start = max(0.0, middle - seconds / 2)
    end = min(float(video.info.duration), start + seconds)
    times = start + np.arange(max(1, round((end - start) * _RATE))) / _RATE
    scale = min(1.0, width / video.info.width)
    # yuv420p has even sizes.
    clip_height, clip_width = (
        max(2, 2 * round(side * scale / 2)) for side in (video.info.height, video.info.width)
    )
    frames = video.frames_at_times(times, size=(clip_height, clip_width))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = clip_width, clip_height, "yuv420p"
        stream.options = {"crf": "28", "preset": "veryfast", "threads": "1"}
        tag_bt709(stream)
        reformatter = VideoReformatter()
        for frame in frames:
            container.mux(stream.encode(to_bt709(frame, reformatter)))
        container.mux(stream.encode(None))
    return _uri("video/mp4", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
