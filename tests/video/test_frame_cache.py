"""Decoded frames kept in files."""

from __future__ import annotations

import os

import numpy as np
import pytest

from modist_det.video.frame_cache import FrameCache
from modist_det.video.reader import VideoError, open_video


@pytest.fixture
def video(tiny_puppets):
    return tiny_puppets / "videos/train_0000.mp4"


def test_the_same_frames_as_decoding(video, tmp_path):
    cache = FrameCache(tmp_path / "frames")
    times = np.array([2.9, 0.0, 0.44, 1.26, 99.0])
    for _ in range(2):  # written, then read
        with cache.open(video) as cached, open_video(video) as decoded:
            assert np.array_equal(cached.frames_at_times(times), decoded.frames_at_times(times))
            assert np.array_equal(cached.frames_at_indices([7, 0, 7]), decoded.frames_at_indices([7, 0, 7]))
            for fact in ("width", "height", "num_frames", "rate", "duration", "codec", "rotation"):
                assert getattr(cached.info, fact) == getattr(decoded.info, fact)
            small, expected = (v.frames_at_times(times, short_side=24) for v in (cached, decoded))
            assert small.shape == expected.shape == (5, 24, 32, 3)
            assert (
                np.abs(small.astype(int) - expected).mean() < 6
            )  # OpenCV's means, swscale's bilinear filter
    assert len(list((tmp_path / "frames").iterdir())) == 1


def test_large_videos_are_kept_small(video, tmp_path):
    with FrameCache(tmp_path, max_side=24).open(video) as cached, open_video(video) as decoded:
        assert np.array_equal(cached.frames_at_indices([3]), decoded.frames_at_indices([3], short_side=24))
        assert (cached.info.height, cached.info.width) == (48, 64)
        assert cached.frames_at_indices([3], short_side=48).shape == (1, 48, 64, 3)


def test_a_video_that_changed_is_read_again(video, tmp_path):
    copy = tmp_path / "clip.mp4"
    copy.write_bytes(video.read_bytes())
    cache = FrameCache(tmp_path / "frames")
    first = cache.open(copy).frames_at_indices([5])
    copy.write_bytes((video.parent / "train_0001.mp4").read_bytes())
    assert not np.array_equal(cache.open(copy).frames_at_indices([5]), first)


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_damaged_file_is_made_again(video, tmp_path, keep):
    cache = FrameCache(tmp_path)
    expected = cache.open(video).frames_at_indices([5])
    (file,) = tmp_path.iterdir()
    os.truncate(file, keep)
    assert np.array_equal(cache.open(video).frames_at_indices([5]), expected)


def test_what_cannot_be_read_leaves_nothing(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    for path in (bad, tmp_path / "absent.mp4"):
        with pytest.raises(VideoError):
            FrameCache(tmp_path / "frames").open(path)
    assert not (tmp_path / "frames").exists()
