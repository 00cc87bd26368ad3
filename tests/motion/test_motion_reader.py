"""Maps of sampled frames against an independent decoding and against known motion."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from modist_det.motion import (
    MotionReader,
    build_flow_estimator,
    build_motion_reader,
    flow_edges,
    flow_magnitude,
)
from modist_det.motion.reader import resize_maps
from modist_det.utils.errors import UserError
from modist_det.video.reader import VideoError, open_video


def decode(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_maps_compare_the_frame_with_the_one_five_before(square):
    frames = decode(square)
    numbers = np.array([9, 0, 3, 23, 9, 5, 23])
    estimator = build_flow_estimator("DIS")
    expected = flow_edges(estimator(frames[numbers], frames[np.maximum(numbers - 5, 0)]))
    assert expected[0].max() > 50
    reader = MotionReader("edges", estimator)
    with open_video(square) as video:
        seconds = numbers / 30 + np.array([0, -0.01, 0.01, 0, -0.015, 0.015, 9.0])  # the nearest; clamped
        maps = reader.maps(video, seconds)
        assert torch.equal(maps, expected)
        assert not maps[1].any()  # frame 0
        assert torch.equal(torch.cat(list(reader.all_maps(video)))[numbers], expected)
        assert reader.maps(video, []).shape == (0, 1, 64, 96)


def test_parts_are_the_whole(square):
    reader = build_motion_reader("magnitude", short_side=32)
    with open_video(square) as video:
        parts = list(reader.all_maps(video, max_bytes=17 * 64 * 96 * 3))
        assert [len(part) for part in parts] == [17, 7]
        assert torch.equal(torch.cat(parts), reader.maps(video, np.arange(24) / 30))
        assert parts[0].shape[1:] == (1, *reader.map_size(video)) == (1, 32, 48)


@pytest.mark.parametrize(("rate", "frames_apart"), [(30, 5), (25, 4), (15, 2), (60, 10), (4, 1), (2, 1)])
def test_the_gap_is_one_of_time(tmp_path, carried, write, rate, frames_apart):
    path = write(tmp_path / "clip.mp4", carried(24, 96, 128, (1, 0)), rate)
    with open_video(path) as video:
        for number, apart in ((20, frames_apart), (1, 1), (0, 0)):
            flow = build_motion_reader("flow").maps(video, [number / rate]).float()
            x, y = ((flow[0, :, 12:-12, 16:-16] - 128) / 6.35).flatten(1).median(dim=1).values.tolist()
            assert (x, y) == pytest.approx((-apart, 0), abs=0.3)


@pytest.mark.parametrize("max_frame_side", [320, 64])
@pytest.mark.parametrize("short_side", [None, 48])
def test_values_are_pixels_of_the_source(tmp_path, carried, write, short_side, max_frame_side):
    path = write(tmp_path / "clip.mp4", carried(12, 128, 192, (2, -1)))
    reader = build_motion_reader("flow", short_side=short_side, max_frame_side=max_frame_side)
    with open_video(path) as video:
        frames, maps = reader.frames_and_maps(video, [0.2], [10 / 30])
        assert frames.shape[1] == min(128, max_frame_side)
        assert maps.shape == (1, 2, *frames.shape[1:3])
        assert reader.map_size(video)[0] == (short_side or frames.shape[1])
    inside = maps[0, :, 16:-16, 24:-24].flatten(1).float().median(dim=1).values
    assert ((inside - 128) / 6.35).tolist() == pytest.approx([-10, 5], abs=0.4)


@pytest.mark.parametrize(("shrink", "rate", "apart"), [(1, 30, 5), (2, 30, 5), (1, 20, 3), (2, 20, 3)])
def test_values_are_pixels_of_a_reference_frame_in_the_exact_gap(
    tmp_path, carried, write, shrink, rate, apart
):
    """(2, -1) pixels a frame in frames of 128 lines are (1, -0.5) in a reference frame of 64 lines."""
    frames = carried(24, 128, 192, (2, -1))
    small = np.stack(
        [cv2.resize(f, (192 // shrink, 128 // shrink), interpolation=cv2.INTER_AREA) for f in frames]
    )
    path = write(tmp_path / "clip.mp4", small, rate)
    reader = build_motion_reader("flow", short_side=48, reference_side=64)
    with open_video(path) as video:
        maps = reader.maps(video, [20 / rate])
    inside = (maps[0, :, 12:-12, 18:-18].flatten(1).float().median(dim=1).values - 128) / 6.35
    per_second = torch.tensor([-1.0, 0.5]) * rate
    torch.testing.assert_close(inside, per_second * 5 / 30, atol=0.25, rtol=0)
    # Without a reference the map depends on resolution, and the gap is a whole number of frames.
    with open_video(path) as video:
        maps = build_motion_reader("flow", short_side=48).maps(video, [20 / rate])
    inside = (maps[0, :, 12:-12, 18:-18].flatten(1).float().median(dim=1).values - 128) / 6.35
    torch.testing.assert_close(inside, per_second / rate * apart * 2 / shrink, atol=0.4, rtol=0)


@pytest.mark.parametrize(("kind", "usual"), [("edges", 10), ("magnitude", 20), ("difference", 255)])
def test_the_limit_is_that_of_the_maps(square, kind, usual):
    with open_video(square) as video:
        plain, same, finer = (
            build_motion_reader(kind, limit=limit).maps(video, [0.3]).double()
            for limit in (0, usual, usual / 4)
        )
    assert torch.equal(plain, same) and plain.max() > 4
    inside = plain < 255 / 4 - 1
    assert ((4 * plain - finer)[inside].abs() <= 2.5).all()  # both rounded
    assert (finer[plain > 255 / 4 + 1] == 255).all()


def test_frames_and_maps_are_those_read_apart(square):
    reader = build_motion_reader(short_side=32)
    rgb, moving = 0.1 + np.arange(3) * 4 / 30, 0.1 + np.arange(6) * 2 / 30
    with open_video(square) as video:
        frames, maps = reader.frames_and_maps(video, rgb, moving)
        np.testing.assert_array_equal(frames, video.frames_at_times(rgb))
        assert torch.equal(maps, reader.maps(video, moving, size=(64, 96)))
        assert torch.equal(maps, resize_maps(reader.maps(video, moving), (64, 96)))


@pytest.mark.parametrize("short_side", [64, 65, 80, 200])
def test_no_map_is_larger_than_its_frame(square, short_side):
    with open_video(square) as video:
        assert MotionReader("difference", short_side=short_side).map_size(video) == (64, 96)


def test_the_working_resolution_is_reached_by_means(square):
    frames = decode(square).reshape(24, 32, 2, 48, 2, 3).mean(axis=(2, 4))
    with open_video(square) as video:
        maps = MotionReader("difference", short_side=32).maps(video, [0.3])
    expected = np.abs((frames[9] - frames[4]) @ [0.299, 0.587, 0.114])
    assert np.abs(maps[0, 0].numpy() - expected).max() < 1.6  # three roundings


@pytest.mark.parametrize("gap_seconds", [1.0, 1e30])
def test_a_gap_longer_than_the_video_compares_with_frame_0(square, gap_seconds):
    frames = decode(square).astype(float)
    with open_video(square) as video:
        maps = MotionReader("difference", gap_seconds=gap_seconds).maps(video, [0.3])
    expected = np.abs((frames[9] - frames[0]) @ [0.299, 0.587, 0.114])
    assert np.abs(maps[0, 0].numpy() - expected).max() < 0.51


def test_difference_needs_no_flow(square):
    frames = decode(square).astype(float)
    with open_video(square) as video:
        maps = MotionReader("difference").maps(video, [0.3])
    expected = np.abs((frames[9] - frames[4]) @ [0.299, 0.587, 0.114])
    assert np.abs(maps[0, 0].numpy() - expected).max() < 0.51
    with pytest.raises(ValueError, match="needs a flow estimator"):
        MotionReader("edges")


def test_frame_0_has_no_motion_whatever_the_estimator_finds(square):
    def everywhere_three(frames, others):
        return torch.full((len(frames), 2, *frames.shape[1:3]), 3.0)

    with open_video(square) as video:
        maps = MotionReader("magnitude", everywhere_three).maps(video, [0.0, 0.1])
    assert maps[0].unique().tolist() == [0]
    assert maps[1].unique().tolist() == [54]  # 3 * sqrt(2) / 20 * 255


def test_a_folder_of_frames(tmp_path, square):
    frames = decode(square)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame[..., ::-1])
    reader = build_motion_reader()
    with open_video(square) as video, open_video(tmp_path, fps=30) as folder:
        assert torch.equal(reader.maps(folder, [0.2, 0.5]), reader.maps(video, [0.2, 0.5]))


def test_a_variable_rate(tmp_path, carried):
    """Frame k is the one shown at k / average rate."""
    path, frames = tmp_path / "variable.mkv", carried(20, 64, 80, (1, 0))
    times = np.cumsum([0] + [20, 50] * 10)[:20]  # ms; 35 on average
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = 64, 80, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shown = decode(path)
    with open_video(path) as video:
        rate = float(video.info.rate)
        maps = MotionReader("magnitude", build_flow_estimator("DIS")).maps(video, [0.5])
    now, before = (
        int(np.abs(times / 1000 - number / rate).argmin())
        for number in (round(0.5 * rate), round(0.5 * rate) - 5)
    )
    expected = build_flow_estimator("DIS")(shown[now : now + 1], shown[before : before + 1])
    assert torch.equal(maps, flow_magnitude(expected))


def test_a_video_too_small_for_flow_is_named_like_one_that_cannot_be_read(tmp_path, carried, write):
    path = write(tmp_path / "tiny.mp4", carried(8, 4, 4, (0, 0)))
    with open_video(path) as video, pytest.raises(VideoError, match=r"tiny.mp4: .*4x4 pixels.*SHORT_SIDE"):
        build_motion_reader().maps(video, [0.2])


def test_resized_maps():
    maps = torch.tensor([[[[0, 100], [50, 250]]]], dtype=torch.uint8)
    assert resize_maps(maps, (2, 2)) is maps
    assert resize_maps(maps, (1, 1)).tolist() == [[[[100]]]]
    assert resize_maps(maps, (2, 4))[0, 0, 0].tolist() == [0, 25, 75, 100]
    assert resize_maps(maps.expand(3, 2, 2, 2), (5, 7)).shape == (3, 2, 5, 7)


@pytest.mark.parametrize(
    "settings",
    [
        {"gap_seconds": 0},
        {"gap_seconds": float("inf")},
        {"short_side": -1},
        {"max_frame_side": 0},
        {"reference_side": -1},
        {"limit": -1},
        {"limit": float("nan")},
        {"kind": "edge"},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(UserError):
        build_motion_reader(**settings)
