"""Animations: read back with PyAV and Pillow."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from modist_det.utils.errors import UserError
from modist_det.video.animation import AnimationWriter


def gray(level, height=30, width=60):
    return np.full((height, width, 3), level, np.uint8)


def read(path):
    """Mean of each image, its duration in ms, and the size (width, height); it repeats without end."""
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            found.append((np.asarray(image.convert("RGB")).mean(), image.info["duration"]))
        return found, image.size


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_rate_size_and_duration_are_limited(tmp_path, caplog, ending):
    path = tmp_path / f"a.{ending}"
    with AnimationWriter(path, rate=5, long_side=20, seconds=1) as writer:
        for number in range(40):  # 20 frames per second, two seconds
            writer.write(gray(5 * number), number / 20)
    images, size = read(path)
    assert size == (20, 10)
    # The frames at 0, 0.2, 0.4, 0.6 and 0.8 s, each shown until the next one.
    np.testing.assert_allclose([mean for mean, _ in images], [0, 20, 40, 60, 80], atol=2)
    assert [duration for _, duration in images] == [200] * 5
    assert caplog.messages == [f"{path} has only the first 1 s of the video"]


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_slow_videos_keep_their_times(tmp_path, caplog, ending):
    path = tmp_path / f"a.{ending.upper()}"
    with caplog.at_level(logging.WARNING), AnimationWriter(path, rate=10) as writer:
        for number, second in enumerate([0.0, 0.5, 1.3 - 1e-12]):  # times may be rounded
            writer.write(gray(100 * number), second)
    images, size = read(path)
    assert size == (60, 30)  # never enlarged
    assert [duration for _, duration in images] == [500, 800, 100]
    assert caplog.messages == []


@pytest.mark.parametrize("ending", ["gif", "webp"])
@pytest.mark.parametrize(("shape", "expected"), [((3, 2000), (20, 1)), ((2000, 3), (1, 20))])
def test_thin_images_keep_a_pixel_and_its_color(tmp_path, shape, expected, ending):
    path = tmp_path / f"a.{ending}"
    with AnimationWriter(path, long_side=20) as writer:
        writer.write(np.full((*shape, 3), (200, 120, 40), np.uint8), 0.0)
    with Image.open(path) as image:
        assert image.size == expected
        np.testing.assert_allclose(image.convert("RGB").getpixel((0, 0)), (200, 120, 40), atol=6)


def test_without_frames_there_is_no_file(tmp_path):
    with AnimationWriter(tmp_path / "a.gif"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), AnimationWriter(tmp_path / "a.gif") as writer:
        writer.write(gray(1), 0.0)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"a\.gif"), AnimationWriter(tmp_path / "file" / "a.gif") as writer:
        writer.write(gray(1), 0.0)
