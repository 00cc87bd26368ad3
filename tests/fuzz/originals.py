"""Small videos whose frames can be told apart, in the containers and codecs that people have.

Original ``number`` is always the same file; a worker encodes each once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_ORIGINALS", "Original", "container_of", "draw", "original", "read_number"]

os.environ.setdefault("SVT_LOG", "1")  # only errors

NUM_ORIGINALS = 160
_BITS = 8
_CODECS = {
    "mp4": ("libx264", "libx265", "mpeg4", "mjpeg", "libvpx-vp9", "libsvtav1"),
    "fmp4": ("libx264", "libx265", "mpeg4"),
    "mkv": ("libx264", "libx265", "mpeg4", "mpeg2video", "mjpeg", "libvpx", "libvpx-vp9", "ffv1"),
    "webm": ("libvpx", "libvpx-vp9", "libsvtav1"),
    "avi": ("libx264", "mpeg4", "mjpeg", "msmpeg4v3", "mpeg2video", "ffv1"),
    "ts": ("libx264", "libx265", "mpeg2video", "mpeg4"),
    "flv": ("libx264", "flv"),
    "mov": ("libx264", "mpeg4", "mjpeg", "prores"),
    "mpg": ("mpeg1video", "mpeg2video"),
    "wmv": ("wmv2",),
}
# The six of the promise come more often.
_CONTAINERS = ("mp4", "mkv", "webm", "avi", "ts", "flv") * 2 + ("fmp4", "mov", "mpg", "wmv")
_MUXERS = {"fmp4": "mp4", "mkv": "matroska", "ts": "mpegts", "mpg": "mpeg", "wmv": "asf"}
_RATES = [
    Fraction(n, d)
    for n, d in ((5, 1), (12, 1), (15, 1), (24000, 1001), (24, 1), (25, 1), (30000, 1001), (60, 1))
]
_STANDARD_RATES = [rate for rate in _RATES if rate > 20]  # all that MPEG-1 and MPEG-2 know
_PIXELS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le", "libsvtav1": "yuv420p"}


@dataclass(frozen=True)
class Original:
    """An encoded video: file ending, bytes, what it is (for messages), how many frames were drawn."""

    suffix: str
    data: bytes
    recipe: str
    num_frames: int


def draw(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """A grey frame that carries its number: blocks in its upper half spell it, once straight and once inverted."""
    texture = np.random.default_rng(7).integers(60, 200, (height // 8 + 2, width // 8 + 2), dtype=np.uint8)
    frame = np.roll(texture.repeat(8, 0).repeat(8, 1), (number, 2 * number), (0, 1))[:height, :width].copy()
    block, row = width // _BITS, height // 4
    for bit in range(_BITS):
        light = 235 if number >> bit & 1 else 20
        frame[:row, bit * block : (bit + 1) * block] = light
        frame[row : 2 * row, bit * block : (bit + 1) * block] = 255 - light
    return frame


def read_number(frame: NDArray[np.uint8]) -> int:
    """The number that a frame (H, W, 3) carries; -1 where it cannot be read."""
    height, width = frame.shape[:2]
    block, row = width // _BITS, height // 4
    grey = frame[: 2 * row, : _BITS * block].mean(axis=2).reshape(2, row, _BITS, block)
    straight, inverted = grey[:, row // 4 : row - row // 4].mean(axis=(1, 3))
    if (np.abs(straight - inverted) < 60).any():
        return -1
    return int((straight > inverted) @ (1 << np.arange(_BITS)))


@cache
def original(number: int) -> Original:
    """The video of that number, from 0 to ``NUM_ORIGINALS - 1``."""
    with contextlib.ExitStack() as stack:
        return _encode(number, stack)


def container_of(number: int) -> str:
    return _CONTAINERS[number % len(_CONTAINERS)]


def _encode(number: int, stack: contextlib.ExitStack) -> Original:
    rng = np.random.default_rng([11, number])
    container = container_of(number)
    codec = str(rng.choice(_CODECS[container]))
    height, width = 2 * int(rng.integers(20, 60)), 2 * int(rng.integers(24, 80))
    count = int(
        rng.choice(
            [1, 2, 3, int(rng.integers(4, 20)), int(rng.integers(20, 80))], p=[0.03, 0.03, 0.04, 0.3, 0.6]
        )
    )
    rates = _STANDARD_RATES if codec.startswith(("mpeg1", "mpeg2")) else _RATES
    rate = rates[rng.integers(len(rates))]
    step = 1
    pts = np.arange(count)
    gaps = "even"
    if rng.random() < 0.35 and not codec.startswith(("mpeg1", "mpeg2")):  # variable rate
        step, gaps = 2, "uneven"
        pts = np.concatenate([[0], np.cumsum(rng.integers(1, 12, count - 1))]) if count > 1 else pts
    start = int(rng.choice([0, 0, 0, int(rng.integers(1, 400))])) * step
    gop, b_frames = int(rng.choice([1, 4, 12, 50, 250])), int(rng.choice([0, 0, 1, 2, 3]))
    sound = rng.random() < 0.2 and container in ("mp4", "mkv", "ts", "mov", "flv", "avi")
    options = {"g": str(gop), "threads": "1"}
    if codec in ("libx264", "libx265", "mpeg4", "mpeg1video", "mpeg2video"):
        options["bf"] = str(b_frames)
    if codec == "libx264":
        options |= {"preset": "veryfast", "x264-params": f"scenecut=0:open-gop={int(rng.integers(2))}"}
    elif codec == "libx265":
        options |= {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"}
    elif codec == "libsvtav1":
        options = {"preset": "12", "svtav1-params": "lp=1", "g": str(gop)}
    elif codec.startswith("libvpx"):
        options |= {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": str(int(rng.integers(2)))}
    muxing = {
        "fmp4": {"movflags": "frag_keyframe+empty_moov"},
        "mp4": {"movflags": str(rng.choice(["faststart", "0"]))},
    }
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    file = Path(folder) / "video"
    muxer = _MUXERS.get(container, container)
    with av.open(str(file), "w", format=muxer, options=muxing.get(container, {})) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = _PIXELS.get(codec, "yuv420p")
        stream.codec_context.time_base = 1 / (rate * step)
        if not codec.startswith("lib"):
            stream.codec_context.qmin, stream.codec_context.qmax = 2, 12
        audio = (
            output.add_stream("mp2" if container in ("avi", "ts") else "aac", rate=44100, layout="mono")
            if sound
            else None
        )
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(
                draw(i, height, width).repeat(3, 1).reshape(height, width, 3), format="rgb24"
            )
            frame.pts, frame.time_base = start + int(pts[i]), 1 / (rate * step)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if audio is not None:
            layout = "s16" if audio.codec_context.name == "mp2" else "fltp"
            silence = np.zeros(
                (1, int(44100 * (pts[-1] / float(rate * step) + 0.1))),
                np.int16 if layout == "s16" else np.float32,
            )
            piece = av.AudioFrame.from_ndarray(silence, format=layout, layout="mono")
            piece.sample_rate = 44100
            output.mux(audio.encode(piece))
            output.mux(audio.encode())
    recipe = f"{container} {codec} {width}x{height} {count} frames {rate}/s {gaps} start {start} g {gop} bf {b_frames}"
    return Original("mp4" if container == "fmp4" else container, file.read_bytes(), recipe, count)
