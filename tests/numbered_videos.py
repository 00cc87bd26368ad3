"""Small videos whose frames carry their own number, in the formats that people really have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from modist_det.video.container import ANY_TITLES

_BITS = 8  # blocks along the top that spell a frame's number in black and white


def _draw(number: int, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    texture = np.random.default_rng(7).integers(60, 200, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    picture = np.roll(texture.repeat(8, 0).repeat(8, 1), (number, 2 * number), (0, 1))[:height, :width].copy()
    block = width // _BITS
    for bit in range(_BITS):
        picture[: height // 4, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    return picture


def _read_number(frame: NDArray[np.uint8]) -> int:
    height, width = frame.shape[:2]
    block = width // _BITS
    bits = frame[2 : height // 4 - 2, : block * _BITS].reshape(height // 4 - 4, _BITS, -1).mean((0, 2)) > 128
    return int(bits @ (1 << np.arange(_BITS)))


def _encode(
    path: Path,
    codec: str = "libx264",
    num_frames: int = 40,
    *,
    height: int = 64,
    width: int = 96,
    rate: int = 25,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    muxer: str | None = None,
    muxer_options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    sound: bool = False,
) -> Path:
    with av.open(str(path), "w", format=muxer, options=muxer_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        stream.thread_count = 1
        stream.codec_context.time_base = Fraction(1, rate)
        audio = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(_draw(number, height, width), format="rgb24")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            noise = np.random.default_rng(0).standard_normal((1, num_frames * 16000 // rate))
            sound_frame = av.AudioFrame.from_ndarray(
                (noise / 9).astype(np.float32), format="fltp", layout="mono"
            )
            sound_frame.sample_rate = 16000
            container.mux(audio.encode(sound_frame))
            container.mux(audio.encode())
    return path


def _remux(
    source: Path,
    target: Path,
    change: Callable[[int, bytes], bytes] = lambda number, data: data,
    retime: Callable[[int, int], int] = lambda number, pts: pts,
) -> Path:
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in reader.demux(stream) if packet.size):
            changed = av.Packet(change(number, bytes(packet)))
            changed.pts, changed.dts = retime(number, packet.pts), packet.dts
            changed.time_base = packet.time_base
            changed.is_keyframe, changed.stream = packet.is_keyframe, copy
            writer.mux(changed)
    return target


def _decode_all(path: Path, **reformat: object) -> list[NDArray[np.uint8]]:
    with av.open(str(path), **ANY_TITLES) as container:
        return [
            f.to_ndarray(format="rgb24", **reformat) for f in container.decode(container.streams.video[0])
        ]


@pytest.fixture(scope="session")
def draw() -> Callable[..., NDArray[np.uint8]]:
    """``draw(number, height=64, width=96)``: a moving texture under blocks that spell the number."""
    return _draw


@pytest.fixture(scope="session")
def read_number() -> Callable[[NDArray[np.uint8]], int]:
    """The number that a decoded (possibly scaled) frame carries, 0 to 255."""
    return _read_number


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    """``encode(path, codec, num_frames, ...)``: drawn frames 0, 1, ... at ``pts`` in units of ``1 / rate``."""
    return _encode


@pytest.fixture(scope="session")
def remux() -> Callable[..., Path]:
    """``remux(source, target, change, retime)``: packets copied, data and pts passed through functions."""
    return _remux


@pytest.fixture(scope="session")
def decode_all() -> Callable[..., list[NDArray[np.uint8]]]:
    """Every frame of the first video stream by the plainest PyAV loop there is."""
    return _decode_all
