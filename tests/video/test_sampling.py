"""Sampling rules against numbers worked out by hand and PySlowFast's own formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modist_det.video.sampling import (
    clip_around,
    clip_indices,
    clip_span,
    middles_around,
    random_clip_start,
    segment_indices,
    spatial_crop_offset,
    uniform_view_start,
)


def test_clip_around_by_hand():
    assert clip_around(8, 8).tolist() == [-32, -24, -16, -8, 0, 8, 16, 24]
    assert clip_around(4, 16).tolist() == [-32, -16, 0, 16]
    assert clip_around(3, 5).tolist() == [-7, -2, 3]
    assert clip_around(1, 1).tolist() == [0]
    assert clip_around(3, 1).tolist() == [-1, 0, 1]


def test_middles_around_are_those_of_videomae_and_umt():
    # VideoMAE: 16 of 64 frames, the keyframe is number 32: 1, 5, 9, ... UMT: 8 of 300 frames around number 150.
    assert (middles_around(16, 4) + 32).tolist() == list(range(1, 64, 4))
    assert (middles_around(8, 8) + 150).tolist() == list(range((300 - 64) // 2 + 3, 185, 8))


@given(frames=st.integers(1, 64), stride=st.integers(1, 16))
def test_clip_around_is_pyslowfasts_range(frames, stride):
    half = frames * stride // 2
    expected = list(range(-half, half, stride))
    offsets = clip_around(frames, stride).tolist()
    assert len(offsets) == frames
    assert offsets[: len(expected)] == expected
    assert len(expected) == frames or (stride == 1 and frames % 2 == 1)


def test_clip_span_converts_rates():
    assert clip_span(8, 8, source_fps=30, target_fps=30) == 64
    assert clip_span(8, 8, source_fps=25, target_fps=30) == pytest.approx(53.3333333)
    assert clip_span(32, 2, source_fps=60, target_fps=30) == 128


def test_random_start_covers_all_of_a_long_video_and_only_the_start_of_a_short_one():
    rng = np.random.default_rng(0)
    starts = np.array([random_clip_start(300, 64, rng) for _ in range(2000)])
    assert starts.min() >= 0
    assert starts.max() < 236
    # Uniform on [0, 236): mean 118, standard deviation 68.1, both with an error of about 1.5.
    assert starts.mean() == pytest.approx(118, abs=6)
    assert starts.std() == pytest.approx(68.1, abs=4)
    assert random_clip_start(64, 64, rng) == 0
    assert random_clip_start(10, 64, rng) == 0


def test_uniform_views_by_hand():
    # 300 frames, a clip of 64: 236 to spare.
    assert [uniform_view_start(300, 64, v, 4) for v in range(4)] == [0, 59, 118, 177]
    assert [uniform_view_start(300, 64, v, 4, use_offset=True) for v in range(4)] == [0, 78, 156, 234]
    assert uniform_view_start(300, 64, 0, 1) == 0
    assert uniform_view_start(300, 64, 0, 1, use_offset=True) == 118
    assert uniform_view_start(301, 64, 0, 1, use_offset=True) == 118  # floor(118.5)
    for use_offset in (False, True):
        assert [uniform_view_start(40, 64, v, 3, use_offset) for v in range(3)] == [0, 0, 0]
        assert [uniform_view_start(64, 64, v, 3, use_offset) for v in range(3)] == [0, 0, 0]
    assert uniform_view_start(10.0, 2.5, 1, 3) == 2.5  # in seconds
    with pytest.raises(ValueError, match="view 3 of 3"):
        uniform_view_start(300, 64, 3, 3)


def test_clip_indices_long_exact_and_short():
    assert clip_indices(10, 4, 8, 300).tolist() == [10, 18, 26, 34]
    assert clip_indices(10.9, 4, 8, 300).tolist() == [10, 18, 26, 34]
    assert clip_indices(0, 4, 8, 25).tolist() == [0, 8, 16, 24]
    assert clip_indices(0, 4, 8, 20).tolist() == [0, 8, 16, 19]
    assert clip_indices(0, 4, 8, 1).tolist() == [0, 0, 0, 0]
    assert clip_indices(-9, 3, 8, 5).tolist() == [0, 0, 4]
    # 25 frames a second shown to a model that expects 30: every 8th frame at 30 is every 6.67th here.
    assert clip_indices(1, 4, 8 * 25 / 30, 300).tolist() == [1, 7, 14, 21]


def test_segments_in_test_mode_by_hand():
    # d = 32 / 8 = 4: parts [0, 4], [4, 8], ... with middles 2, 6, ...
    assert segment_indices(33, 8).tolist() == [2, 6, 10, 14, 18, 22, 26, 30]
    # d = 9 / 4 = 2.25: bounds 0, 2.25, 4.5, 6.75, 9 -> 0, 2, 4 (half to even), 7, 9
    assert segment_indices(10, 4).tolist() == [1, 3, 5, 8]
    # d = 0.25: bounds 0, 0.25, 0.5 -> 0, 0.75 -> 1, 1, 1.25, 1.5 -> 2, 1.75, 2
    assert segment_indices(3, 8).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert segment_indices(1, 8).tolist() == [0] * 8


def test_segments_in_training_take_every_frame_of_their_part():
    rng = np.random.default_rng(0)
    drawn = np.array([segment_indices(10, 4, rng) for _ in range(300)])
    parts = [{0, 1, 2}, {2, 3, 4}, {4, 5, 6, 7}, {7, 8, 9}]
    assert [set(column) for column in drawn.T.tolist()] == parts


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (256, 340, 256, [(0, 0), (0, 42), (0, 84)]),
        (340, 256, 256, [(0, 0), (42, 0), (84, 0)]),
        (256, 341, 256, [(0, 0), (0, 43), (0, 85)]),  # 42.5 goes up
        (300, 340, 224, [(38, 0), (38, 58), (38, 116)]),
        (257, 257, 256, [(1, 0), (1, 1), (1, 1)]),
        (224, 224, 224, [(0, 0)] * 3),
    ],
)
def test_three_crops_by_hand(height, width, size, expected):
    assert [spatial_crop_offset(height, width, size, p) for p in range(3)] == expected


def test_impossible_crops_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        spatial_crop_offset(200, 340, 224, 1)
    with pytest.raises(ValueError, match="position"):
        spatial_crop_offset(256, 340, 224, 3)
