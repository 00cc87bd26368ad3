"""Videos with known motion: a texture that is carried past the camera."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def _texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def _carried(num_frames: int, height: int, width: int, velocity: tuple[int, int]) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of a texture that moves by ``velocity`` (x, y) pixels from one to the next."""
    dx, dy = velocity
    travel_x, travel_y = abs(dx) * num_frames, abs(dy) * num_frames
    ground = _texture(height + travel_y, width + travel_x)
    frames = []
    for number in range(num_frames):
        top = travel_y - dy * number if dy > 0 else -dy * number
        left = travel_x - dx * number if dx > 0 else -dx * number
        frames.append(ground[top : top + height, left : left + width])
    return np.stack(frames)


def _write(path: Path, frames: NDArray[np.uint8], rate: int = 30, crf: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast", "g": "12"}
        )
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.thread_count = 1
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def carried() -> Callable[..., NDArray[np.uint8]]:
    """``carried(num_frames, height, width, velocity)``: RGB frames of a texture in even motion."""
    return _carried


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """``write(path, frames, rate=30)``: an h264 file of these frames."""
    return _write


@pytest.fixture(scope="session")
def square(tmp_path_factory) -> Path:
    """A video of 24 frames, 30 a second, 96x64 pixels: a textured square crosses a textured ground."""
    frames = np.repeat(_texture(64, 96)[None], 24, axis=0)
    moving = _texture(24, 24, seed=1)
    for number, frame in enumerate(frames):
        frame[20:44, 4 + 2 * number : 28 + 2 * number] = moving
    return _write(tmp_path_factory.mktemp("square") / "square.mp4", frames)
