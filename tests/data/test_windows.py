"""Long videos become several samples."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from modist_det.data.datasets.records import VideoRecord, VideoRecords
from modist_det.data.windows import cut_into_windows, measure_durations


def records(*parts):
    """Records of (video, start, end)."""
    return VideoRecords.of([VideoRecord(i, f"v{i}", v, None, (), s, e) for i, (v, s, e) in enumerate(parts)])


def rows(found):
    return [(r.number, r.id, r.video, r.start, r.end) for r in found]


def test_long_videos_are_cut_into_equal_windows():
    given = records(("a", None, None), ("b", None, None), ("c", None, None))
    found = cut_into_windows(given, np.array([44.0, 95.0, np.nan]), 30.0)
    third = 95 / 3
    assert rows(found) == [
        (0, "v0", "a", None, None),
        (1, "v1@0.00", "b", 0.0, third),
        (1, "v1@31.67", "b", third, 2 * third),
        (1, "v1@63.33", "b", 2 * third, pytest.approx(95.0)),
        (2, "v2", "c", None, None),
    ]


def test_the_part_that_a_record_names_is_cut_and_ends_with_the_video():
    given = records(("a", 10.0, 70.0), ("a", 100.0, 300.0), ("b", 5.0, 20.0))
    found = cut_into_windows(given, np.array([140.0, 140.0, 20.0]), 20.0)
    assert [(r.number, r.start, r.end) for r in found] == [
        (0, 10.0, 30.0),
        (0, 30.0, 50.0),
        (0, 50.0, 70.0),
        (1, 100.0, 120.0),
        (1, 120.0, 140.0),
        (2, 5.0, 20.0),
    ]


def test_a_set_of_short_videos_is_left_as_it_is():
    given = records(("a", None, None), ("b", 1.0, 2.0))
    assert cut_into_windows(given, np.array([10.0, 20.0]), 30.0) is given


def test_records_of_one_file_have_one_number():
    given = records(("b", 0.0, 1.0), ("a", None, None), ("b", 4.0, 5.0), ("a", 3.0, 4.0))
    assert [r.number for r in given.numbered_by_video()] == [0, 1, 0, 1]
    assert [r.number for r in given] == [0, 1, 2, 3]


def test_durations_of_files(tmp_path, encode):
    paths = [str(encode(tmp_path / f"{n}.mp4", num_frames=n, rate=10)) for n in (20, 35)]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    given = records(*((path, None, None) for path in (*paths, str(tmp_path / "bad.mp4"), paths[0])))
    np.testing.assert_allclose(measure_durations(given), [2.0, 3.5, np.nan, 2.0])


def test_durations_of_frame_folders_follow_their_rate(tmp_path):
    """One folder at two rates is two videos."""
    for number in range(1, 13):
        cv2.imwrite(str(tmp_path / f"img_{number:05d}.jpg"), np.zeros((16, 16, 3), np.uint8))
    rates = (6.0, 24.0, 6.0)
    given = VideoRecords.of([VideoRecord(i, f"v{i}", str(tmp_path), fps) for i, fps in enumerate(rates)])
    np.testing.assert_allclose(measure_durations(given), [2.0, 0.5, 2.0])
