"""Folders of frames: each image at its number, or a refusal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from modist_det.video.reader import VideoError, open_video

from .kinds import accepted, expect
from .mutate import NASTY_TEXTS, mutate_bytes
from .originals import draw, read_number

__all__ = ["frame_folder"]

_HEIGHT, _WIDTH = 48, 64
_IGNORED = (".DS_Store", "._img_00001.jpg", "Thumbs.db", "desktop.ini", "notes.txt", ".img.jpg")


def _image(number: int, ending: str) -> bytes:
    grey = draw(number, _HEIGHT, _WIDTH)
    ok, data = cv2.imencode(ending.lower(), np.repeat(grey[..., None], 3, axis=2))
    assert ok
    return data.tobytes()


def frame_folder(rng: np.random.Generator, folder: Path) -> None:
    """Names as extraction tools write them; images that are missing, strange or damaged."""
    frames = folder / str(rng.choice(["clip", "v 1", "Ünïcödé", "[x]"]))
    frames.mkdir()
    prefix = str(rng.choice(["img_", "", "frame", "image-", "1j20qq1JyX4_", "v_a_g01_c02_", "frame."]))
    digits, first = int(rng.choice([1, 4, 5, 6])), int(rng.choice([0, 1, 1, 7]))
    ending = str(rng.choice([".jpg", ".png", ".JPG", ".jpeg"]))
    count = int(rng.integers(1, 25))
    names = [f"{prefix}{first + i:0{digits}d}{ending}" for i in range(count)]
    for number, name in enumerate(names):
        (frames / name).write_bytes(_image(number, ending))
    for name in _IGNORED:
        if rng.random() < 0.1:
            (frames / name).write_bytes(b"x")
    if rng.random() < 0.1:  # as mmaction2 and denseflow leave them: no frames
        for i in range(count):
            (frames / f"flow_x_{first + i:05d}{ending}").write_bytes(_image(i, ending))
    fault = str(
        rng.choice(
            ["none", "gap", "stranger", "series", "damage", "size", "empty", "odd"], p=[0.3] + [0.1] * 7
        )
    )
    if fault == "gap" and count > 2:
        (frames / names[int(rng.integers(1, count - 1))]).unlink()
    elif fault == "stranger":
        (frames / f"cover{ending}").write_bytes(_image(0, ending))
    elif fault == "series":
        for i in range(int(rng.integers(1, count + 1))):
            (frames / f"mask_{first + i:05d}{ending}").write_bytes(_image(i, ending))
    elif fault == "odd":
        for _ in range(int(rng.integers(1, 4))):
            odd = str(NASTY_TEXTS[rng.integers(len(NASTY_TEXTS))]).translate({0: "", ord("/"): "_"})[:200]
            odd = odd.encode("utf-8", "replace")[:100].decode("utf-8", "ignore")
            number = str(rng.choice(["", "2", "1" * 90, "-1", "٣", "²", "1.5"]))
            (frames / f"{odd}{number}{ending}").write_bytes(_image(0, ending))
    elif fault == "damage":
        hit = frames / names[int(rng.integers(count))]
        hit.write_bytes(mutate_bytes(rng, hit.read_bytes()))
    elif fault == "size" and count > 1:
        (frames / names[int(rng.integers(1, count))]).write_bytes(_image(0, ending)[:0] or _small(ending))
    elif fault == "empty":
        (frames / names[int(rng.integers(count))]).write_bytes(b"")
    else:
        fault = "none"
    indices = rng.integers(0, count, 4)
    if fault == "none":
        with accepted(f"{count} images {names[0]} to {names[-1]}"), open_video(frames, fps=10) as video:
            expect(video.info.num_frames == count, f"{video.info.num_frames} frames instead of {count}")
            shown = [read_number(frame) for frame in video.frames_at_indices(indices)]
            timed = [read_number(frame) for frame in video.frames_at_times(indices / 10)]
        expect(
            shown == timed == indices.tolist(), f"frames {shown} and {timed} instead of {indices.tolist()}"
        )
        return
    with open_video(frames, fps=10) as video:
        if fault in ("gap", "stranger", "series"):
            _ = video.info.num_frames
            video.frames_at_indices(indices)
            expect(False, f"a folder with a fault ({fault}) was read")
        for index in indices.tolist():
            try:
                shown_one = read_number(video.frames_at_indices([index])[0])
            except VideoError:
                continue
            if fault == "empty":
                expect(shown_one == index, f"frame {shown_one} instead of {index}")
        video.frames_at_indices(np.arange(count))
        # Damage may be hidden, and odd names may be no images.
        expect(fault in ("damage", "odd"), f"all images of a folder with a fault ({fault}) were read")


def _small(ending: str) -> bytes:
    ok, data = cv2.imencode(ending.lower(), np.zeros((16, 24, 3), np.uint8))
    assert ok
    return data.tobytes()
