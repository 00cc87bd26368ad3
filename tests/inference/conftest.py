"""A tiny action model with random weights, and videos of a white square on grey: a person that is easy to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from modist_det.config import CfgNode, get_cfg
from modist_det.inference import ActionPredictor, PersonBoxes, Picture
from modist_det.modeling import build_model


@pytest.fixture(scope="session")
def tiny_cfg() -> CfgNode:
    """Three classes, clips of four frames 0.2 s apart, short side 32."""
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.RESNET3D.STEM_KERNEL", [1, 3, 3]]
        + ["MODEL.NUM_CLASSES", 3, "MODEL.DEVICE", "cpu", "MODEL.HEAD.INIT_STD", 1.0]
        + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
    )
    return cfg


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_cfg, tmp_path_factory) -> Path:
    """A checkpoint of the kind that training writes."""
    torch.manual_seed(0)
    model = build_model(tiny_cfg)
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "model_0000007.pth"
    path.parent.mkdir()
    torch.save({"model": model.state_dict(), "config": tiny_cfg.dump(), "iteration": 7}, path)
    return path


@pytest.fixture(scope="session")
def predictor(tiny_checkpoint) -> ActionPredictor:
    return ActionPredictor.from_checkpoint(tiny_checkpoint, class_names={1: "stand", 2: "walk", 3: "run"})


class SquareDetector:
    """Finds the white square, as a box around all bright pixels; the whole machinery runs with it as with any other."""

    start_score = 0.5
    min_hits = 2
    spacing = 0.0

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, pictures: Sequence[Picture]) -> list[PersonBoxes | None]:
        found: list[PersonBoxes | None] = []
        for picture in pictures:
            self.seen.append(picture.second)
            height, width = picture.image.shape[:2]
            rows, columns = np.nonzero(picture.image.mean(axis=2) > 200)
            if not len(rows):
                found.append(PersonBoxes())
                continue
            box = [
                columns.min() / width,
                rows.min() / height,
                (columns.max() + 1) / width,
                (rows.max() + 1) / height,
            ]
            found.append(PersonBoxes(np.array([box], np.float32), np.array([0.9], np.float32)))
        return found


@pytest.fixture
def square_detector() -> SquareDetector:
    return SquareDetector()


def draw_square(second: float, height: int = 48, width: int = 64) -> np.ndarray:
    """A white square of 16 pixels that moves 8 pixels a second to the right, on grey."""
    picture = np.full((height, width, 3), 90, np.uint8)
    left = round(4 + 8 * second) % (width - 16)
    picture[16:32, left : left + 16] = 255
    return picture


def write_film(
    path: Path,
    seconds: Sequence[float],
    height: int = 48,
    width: int = 64,
    sound: str = "",
    draw: Callable[..., np.ndarray] = draw_square,
) -> Path:
    """H.264 with frames at ``seconds``; ``sound``: a codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream(sound, rate=16000, layout="mono") if sound else None
        for second in seconds:
            frame = av.VideoFrame.from_ndarray(draw(second, height, width), format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            tone = np.sin(np.arange(int((seconds[-1] + 0.04) * 16000)) / 9)[None].astype(np.float32)
            sound_frame = av.AudioFrame.from_ndarray(tone / 4, format="fltp", layout="mono")
            sound_frame.sample_rate = 16000
            container.mux(audio.encode(sound_frame))
            container.mux(audio.encode())
    return path


@pytest.fixture(scope="session")
def film() -> Callable[..., Path]:
    """``film(path, seconds, height=48, width=64, sound="")``: see :func:`write_film`."""
    return write_film
