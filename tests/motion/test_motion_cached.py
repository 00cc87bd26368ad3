"""Maps from files are the maps computed from the video, up to JPEG."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from modist_det.data.motion_sources import find_sources
from modist_det.motion import CachedMotion, build_motion_reader, build_motion_source
from modist_det.motion.cached import find_map_file
from modist_det.motion.extract import ExtractionSettings, extract_motion
from modist_det.motion.map_file import DEFAULT_QUALITY, MapFileError
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video


def extract(video: Path, out: Path, **settings) -> None:
    report = extract_motion(
        find_sources([str(video)], out), out, ExtractionSettings(**settings), show_progress=False
    )
    assert not report.failed


@pytest.fixture(scope="module")
def cache(tmp_path_factory, square):
    folder = tmp_path_factory.mktemp("cache")
    extract(square, folder, short_side=48)
    return folder


def jpeg(maps: torch.Tensor) -> torch.Tensor:
    """What remains of maps (T, 1, H, W) after the stated compression."""
    options = [cv2.IMWRITE_JPEG_QUALITY, DEFAULT_QUALITY]
    pictures = [
        cv2.imdecode(cv2.imencode(".jpg", m, options)[1], cv2.IMREAD_GRAYSCALE) for m in maps[:, 0].numpy()
    ]
    return torch.from_numpy(np.stack(pictures))[:, None]


def test_the_same_maps_at_the_same_frames(cache, square):
    cached, computed = CachedMotion(cache), build_motion_reader(short_side=48)
    assert (cached.kind, cached.channels) == (computed.kind, computed.channels)
    seconds = np.array([0.31, 0.0, 0.71, 99.0, 0.31, 0.145])
    with open_video(square) as video:
        now, before = computed.maps(video, seconds), cached.maps(video, seconds)
        assert now.max() > 40
        assert torch.equal(before, jpeg(now))
        assert not before[1].any()
        assert (before.int() - now.int()).abs().max() <= 20
        assert (before.int() - now.int()).abs().float().mean() < 1
        assert cached.maps(video, seconds, size=(50, 70)).shape == (6, 1, 50, 70)

        pair = (
            computed.frames_and_maps(video, seconds[:2], seconds),
            cached.frames_and_maps(video, seconds[:2], seconds),
        )
        np.testing.assert_array_equal(pair[0][0], pair[1][0])
        assert pair[0][1].shape == pair[1][1].shape == (6, 1, 64, 96)
        assert (pair[0][1].int() - pair[1][1].int()).abs().max() <= 20


def test_rgb_frames_are_scaled_by_their_short_side(cache, square):
    with open_video(square) as video:
        for side, size in ((32, (32, 48)), (80, (64, 96))):  # never up
            frames, maps = CachedMotion(cache, max_frame_side=side).frames_and_maps(video, [0.3, 0.4], [0.3])
            assert frames.shape == (2, *size, 3) and maps.shape == (1, 1, *size)
            computed = build_motion_reader(short_side=48, max_frame_side=side)
            np.testing.assert_array_equal(frames, computed.frames_and_maps(video, [0.3, 0.4], [0.3])[0])


def test_a_gap_written_with_fewer_digits_is_the_same(cache, square):
    with open_video(square) as video:
        assert CachedMotion(cache, gap_seconds=0.16667).maps(video, [0.3]).shape == (1, 1, 48, 72)


def test_raw_flow(tmp_path, square):
    extract(square, tmp_path, kind="flow", quality=100)
    with open_video(square) as video:
        cached, computed = (
            source.maps(video, [0.2, 0.4]).int()
            for source in (build_motion_source("flow", cache=str(tmp_path)), build_motion_source("flow"))
        )
    assert computed.shape == (2, 2, 64, 96)
    assert (computed - 128).abs().max() > 30
    assert (cached - computed).abs().max() <= 2


def test_real_clips(tmp_path, real_data):
    clip = real_data / "ucf101" / "v_SoccerJuggling_g23_c01.avi"
    extract(clip, tmp_path, short_side=64)
    seconds = np.linspace(0, 8, 12)
    with open_video(clip) as video:
        now = build_motion_reader(short_side=64).maps(video, seconds)
        before = CachedMotion(tmp_path).maps(video, seconds)
    assert now.float().std() > 3
    assert torch.equal(before, jpeg(now))


def test_what_is_not_expected_is_refused(cache, square):
    with open_video(square) as video:
        with pytest.raises(
            MapFileError, match=r"kind is 'edges', not 'magnitude'; make them again with tools/extract"
        ):
            CachedMotion(cache, "magnitude").maps(video, [0.0])
        with pytest.raises(MapFileError, match=r"0\.1667 s, not 0\.2 s"):
            CachedMotion(cache, gap_seconds=0.2).maps(video, [0.0])
    with pytest.raises(UserError, match="make it with tools/extract_motion"):
        CachedMotion(cache / "none")
    with pytest.raises(UserError, match="no motion input"):
        CachedMotion(cache, "edge")


def test_maps_in_other_units_are_refused(tmp_path, cache, square):
    with open_video(square) as video:
        with pytest.raises(MapFileError, match="pixels of the video, not of frames of 256 pixels"):
            build_motion_source(cache=str(cache), reference_side=256).maps(video, [0.3])
        extract(square, tmp_path, short_side=48, reference_side=256)
        maps = build_motion_source(cache=str(tmp_path), reference_side=256).maps(video, [0.3])
        computed = build_motion_reader(short_side=48, reference_side=256).maps(video, [0.3])
        assert torch.equal(maps, jpeg(computed))
        assert (
            computed.float().mean() > 2 * build_motion_reader(short_side=48).maps(video, [0.3]).float().mean()
        )


def test_maps_of_another_limit_are_refused(tmp_path, cache, square):
    with open_video(square) as video:
        CachedMotion(cache, limit=10.0).maps(video, [0.3])  # the usual one of edges
        with pytest.raises(MapFileError, match=r"a motion of 10, not of 5 \(MOTION.LIMIT\)"):
            CachedMotion(cache, limit=5.0).maps(video, [0.3])
        extract(square, tmp_path, short_side=48, limit=5.0)
        maps = build_motion_source(cache=str(tmp_path), limit=5.0).maps(video, [0.3])
        assert torch.equal(maps, jpeg(build_motion_reader(short_side=48, limit=5.0).maps(video, [0.3])))


def test_missing_and_stale_maps(tmp_path, cache, square, write, carried):
    other = write(tmp_path / "other.mp4", carried(5, 64, 96, (1, 0)))
    with (
        open_video(other) as video,
        pytest.raises(MapFileError, match=r"other\.mp4\.motion: there are none for .*other"),
    ):
        CachedMotion(cache).maps(video, [0.0])
    replaced = shutil.copy(other, tmp_path / square.name)
    with (
        open_video(replaced) as video,
        pytest.raises(MapFileError, match=r"were made from .* bytes .*, but .* is"),
    ):
        CachedMotion(cache).maps(video, [0.0])


def test_videos_and_maps_may_move(tmp_path):
    names = "x.mp4.motion", "b/x.mp4.motion", "a/b/x.mp4.motion"
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for video, expected in (
        ("/data/a/b/x.mp4", names[2]),
        ("/a/b/x.mp4", names[2]),
        ("/data/b/x.mp4", names[1]),
        ("/a/b/c/x.mp4", names[0]),
        ("/x.mp4", names[0]),
    ):
        assert find_map_file(tmp_path, video) == tmp_path / expected
    with pytest.raises(MapFileError, match="none for /data/y"):
        find_map_file(tmp_path, "/data/y.mp4")
