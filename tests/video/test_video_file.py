"""Every frame that the reader gives equals that of an independent decoding of the whole file."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.video.container import ANY_TITLES
from modist_det.video.reader import VideoReader, open_video, probe

X264 = {"preset": "veryfast", "g": "12", "bf": "3"}
VP9 = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
VARIABLE_MS = np.cumsum([0] + [20, 33, 40, 200, 1, 7, 90, 40] * 5)[:40].tolist()

FORMATS: dict[str, dict] = {
    "closed.mp4": {"options": X264 | {"x264-params": "open-gop=0:b-pyramid=normal"}, "sound": True},
    "open.mp4": {"options": X264 | {"x264-params": "open-gop=1:b-adapt=0:scenecut=0:b-pyramid=normal"}},
    "open.mkv": {"options": X264 | {"x264-params": "open-gop=1:b-adapt=0:scenecut=0"}},
    "open.ts": {"options": X264 | {"x264-params": "open-gop=1:b-adapt=0:scenecut=0"}, "sound": True},
    "no_b.mp4": {"options": X264 | {"bf": "0"}},
    "long.mp4": {"num_frames": 120, "options": X264 | {"g": "250"}, "sound": True},
    "refresh.ts": {"options": {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=10"}},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=12:bframes=3:pools=1"},
    },
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "mpeg4_b.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "h264_b.avi": {"options": X264},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9},
    "vp8.webm": {"codec": "libvpx", "options": VP9},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "raw.h264": {"options": X264, "muxer": "h264"},
    "raw.m4v": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}, "muxer": "m4v"},
    "live.mkv": {"options": X264, "muxer_options": {"live": "1"}},
    "live.webm": {"codec": "libvpx-vp9", "options": VP9, "muxer_options": {"live": "1"}},
    "fragments.mp4": {"options": X264, "muxer_options": {"movflags": "frag_keyframe+empty_moov"}},
    "variable.mp4": {"rate": 1000, "pts": VARIABLE_MS, "options": X264},
    "variable.mkv": {"rate": 1000, "pts": VARIABLE_MS, "options": X264},
    "late.mp4": {"pts": range(125, 165), "options": X264},
    "late.mkv": {"pts": range(125, 165), "options": X264},
    "edit_list.mp4": {"pts": range(-7, 33), "options": X264},
    "odd.webm": {"codec": "libvpx-vp9", "height": 63, "width": 97, "options": VP9},
    "odd.mp4": {"height": 63, "width": 97, "pix_fmt": "yuv444p", "options": X264},
    "one.mp4": {"num_frames": 1},
}
# Formats in which only decoding from the start tells which frame is which.
COUNTED = {"refresh.ts", "mpeg4_b.avi", "h264_b.avi", "mpeg2.mpg", "raw.h264"}


class Video(NamedTuple):
    path: Path
    frames: list[np.ndarray]  # all of them, decoded independently


@pytest.fixture(scope="session")
def videos(tmp_path_factory, encode, decode_all) -> dict[str, Video]:
    folder = tmp_path_factory.mktemp("videos")
    made = {name: encode(folder / name, **arguments) for name, arguments in FORMATS.items()}
    return {name: Video(path, decode_all(path)) for name, path in made.items()}


def assert_same(got: np.ndarray, frames: list[np.ndarray], indices) -> None:
    assert got.dtype == np.uint8
    assert got.shape == (len(indices), *frames[0].shape)
    wrong = [int(i) for frame, i in zip(got, indices, strict=True) if not np.array_equal(frame, frames[i])]
    assert not wrong


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_by_number_and_by_time(name, videos, read_number):
    path, frames = videos[name]
    hidden = 7 if name == "edit_list.mp4" else 0
    assert [read_number(frame) for frame in frames] == list(
        range(hidden, FORMATS[name].get("num_frames", 40))
    )
    times = np.array(FORMATS[name]["pts"] if "variable" in name else range(len(frames))) / FORMATS[name].get(
        "rate", 25
    )
    rng = np.random.default_rng(0)
    with VideoReader(path) as video:
        assert video.info.num_frames == len(frames)
        assert (video.info.height, video.info.width) == frames[0].shape[:2]
        assert_same(video.frames_at_indices(range(len(frames))), frames, range(len(frames)))
        for _ in range(15):
            wanted = rng.integers(0, len(frames), rng.integers(1, 6))
            assert_same(video.frames_at_indices(wanted), frames, wanted)
            assert_same(video.frames_at_times(times[wanted]), frames, wanted)
        assert video._ordered_by_pts == (name not in COUNTED)


@pytest.mark.parametrize("name", ["open.mkv", "mpeg4_b.avi", "mpeg2.ts", "edit_list.mp4"])
def test_every_frame_alone(name, videos):
    path, frames = videos[name]
    for index in range(len(frames)):
        with VideoReader(path) as video:
            assert_same(video.frames_at_indices([index]), frames, [index])
        with VideoReader(path) as video:
            assert_same(video.frames_at_times([index / 25]), frames, [index])


def test_frames_that_share_a_time(tmp_path, videos, remux, decode_all):
    def retime(number: int, pts: int) -> int:
        return pts + 512 if number == 3 else pts  # in 1 / 12800 s: 25 frames a second are 512 apart

    path = remux(videos["closed.mp4"].path, tmp_path / "same.mp4", retime=retime)
    frames = decode_all(path)
    for index in (0, 2, 3, 4, 20, 38):
        with VideoReader(path) as video:
            assert_same(video.frames_at_indices([index]), frames, [index])
            assert video.info.num_frames == len(frames)


def test_times_in_the_order_of_decoding(tmp_path, videos, remux, decode_all):
    # As in old files of DivX that were put into another container as they were.
    path = remux(
        videos["mpeg4.mp4"].path, tmp_path / "old.mkv", retime=lambda number, pts: (number + 1) * 512
    )
    frames = decode_all(path)
    for index in (14, 17, 32):
        with VideoReader(path) as video:
            assert_same(video.frames_at_indices([index, index + 3]), frames, [index, index + 3])
            assert video.info.num_frames == 40


@pytest.mark.parametrize("name", ["open.mp4", "open.ts", "mpeg4.mp4", "hevc.mp4", "vp9.webm", "live.mkv"])
def test_by_time_without_any_index(name, videos):
    path, frames = videos[name]
    for index in (39, 0, 17, 25, 12):
        with VideoReader(path) as video:
            assert_same(video.frames_at_times([index / 25]), frames, [index])
            assert "_pts" not in vars(video)  # the file was not read through


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["closed.mp4", "open.mkv", "mpeg4.mp4", "variable.mp4", "mpeg4_b.avi"]),
    wanted=st.lists(st.integers(0, 39), max_size=12),
)
def test_any_list_of_frames(name, wanted, videos):
    path, frames = videos[name]
    with VideoReader(path) as video:
        assert_same(video.frames_at_indices(wanted), frames, wanted)


@pytest.mark.parametrize("name", ["closed.mp4", "open.mkv", "mpeg4.mp4", "hevc.mp4", "vp9.webm"])
def test_decoder_threads_change_nothing(name, videos):
    path, frames = videos[name]
    with VideoReader(path, threads=3) as video:
        for wanted in ([0, 39], [13, 14, 30], list(range(40))):
            assert_same(video.frames_at_indices(wanted), frames, wanted)


def test_numbers_and_times_are_clamped(videos):
    path, frames = videos["late.mp4"]
    with VideoReader(path) as video:
        assert_same(video.frames_at_indices([-5, 40, 10**9]), frames, [0, 39, 39])
        assert_same(video.frames_at_times([-1.0, 1.7, 1e6]), frames, [0, 39, 39])
        assert_same(video.frames_at_times([1e6]), frames, [39])
    for name in ("open.ts", "live.mkv", "raw.m4v", "mpeg4_b.avi", "fragments.mp4"):
        path, frames = videos[name]
        with VideoReader(path) as video:
            assert_same(video.frames_at_times([1e6, -3.0]), frames, [39, 0])


def test_nearest_time_and_ties(videos):
    path, frames = videos["variable.mp4"]  # shown at 0, 20, 53, 93, 293, 294, 301, 391 ms
    seconds = [0.009, 0.010, 0.0101, 0.036, 0.0366, 0.192, 0.193, 0.194, 0.2935, 0.2937, 0.2974, 0.2976]
    expected = [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6]
    with VideoReader(path) as video:
        assert_same(video.frames_at_times(seconds), frames, expected)
    path, frames = videos["closed.mp4"]
    with VideoReader(path) as video:  # half-way between two frames of a constant rate: the earlier
        assert_same(video.frames_at_times((np.arange(39) + 0.5) / 25), frames, range(39))


def test_facts(videos):
    info = probe(videos["variable.mp4"].path)
    assert info.duration == pytest.approx(VARIABLE_MS[-1] / 1000 + 1 / info.fps)
    assert info.fps == pytest.approx(39 / VARIABLE_MS[-1] * 1000, rel=0.01)
    for name in ("late.mkv", "live.webm", "edit_list.mp4", "raw.h264", "one.mp4"):
        info = probe(videos[name].path)
        assert info.rate == 25
        assert info.duration == pytest.approx(len(videos[name].frames) / 25)
    assert probe(videos["hevc.mp4"].path).codec == "hevc"
    video = VideoReader(videos["long.mp4"].path)
    video.close()
    assert repr(video.info) == "VideoInfo(96x64, h264, rotation 0)"
    assert video.info.num_frames == 120  # counted although closed
    assert repr(video.info) == "VideoInfo(96x64, h264, rotation 0, 120 frames, 25 fps, 4.800 s)"


@pytest.mark.parametrize("name", ["closed.mp4", "odd.webm", "mpeg4_b.avi"])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (100, 51), (64, 96)])
def test_scaling_is_one_step_of_swscale(name, height, width, videos, decode_all):
    path, _ = videos[name]
    frames = decode_all(path, width=width, height=height, interpolation=Interpolation.BILINEAR)
    with VideoReader(path) as video:
        assert_same(video.frames_at_indices([30, 2, 2], size=(height, width)), frames, [30, 2, 2])
        assert_same(video.frames_at_times([0.2], size=(height, width)), frames, [5])


def test_short_side_keeps_the_shape(videos, read_number):
    with VideoReader(videos["odd.webm"].path) as video:  # 97 x 63
        frames = video.frames_at_indices([3, 9], short_side=100)
        assert frames.shape == (2, 100, 153, 3)  # floor(97 * 100 / 63) = floor(153.97)
        assert [read_number(frame) for frame in frames] == [3, 9]
        with pytest.raises(ValueError, match="not both"):
            video.frames_at_indices([0], size=(8, 8), short_side=8)
        with pytest.raises(ValueError, match="not possible"):
            video.frames_at_indices([0], short_side=0)


def test_nothing_asked_nothing_given(videos):
    for name in ("closed.mp4", "raw.h264"):
        with VideoReader(videos[name].path) as video:
            assert video.frames_at_indices([]).shape == (0, 64, 96, 3)
            assert video.frames_at_times([], short_side=32).shape == (0, 32, 48, 3)


@pytest.mark.parametrize("wrong", [[0.5], [[1, 2]], 3, ["1"]])
def test_indices_are_whole_numbers(wrong, videos):
    with VideoReader(videos["one.mp4"].path) as video, pytest.raises(ValueError, match="whole numbers"):
        video.frames_at_indices(wrong)


@pytest.mark.parametrize("wrong", [[float("nan")], [float("inf")], [[1.0]]])
def test_times_are_finite_numbers(wrong, videos):
    with VideoReader(videos["one.mp4"].path) as video, pytest.raises(ValueError, match="finite"):
        video.frames_at_times(wrong)


# Entries a, b, c, d of the track's matrix (a stored point (x, y) is shown at (a x + c y, b x + d y)) and what a
# viewer sees, by numpy's own turning.
TURNS = {
    "90": ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
    "180": ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
    "270": ((0, -1, 1, 0), lambda f: np.rot90(f, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "mirrored and 90": ((0, 1, 1, 0), lambda f: np.rot90(np.fliplr(f), 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_turned_and_mirrored(turn, tmp_path, videos, decode_all):
    (a, b, c, d), seen = TURNS[turn]
    data = bytearray(videos["closed.mp4"].path.read_bytes())
    # ISO 14496-12, 8.3.2: 40 bytes lie between the name of the track header (version 0) and its matrix.
    matrix = data.index(b"tkhd") + 4 + 40
    for i, value in enumerate((a, b, 0, c, d)):
        data[matrix + 4 * i : matrix + 4 * i + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    stored = videos["closed.mp4"].frames
    shown = [seen(frame) for frame in stored]
    with VideoReader(path) as video:
        assert (video.info.height, video.info.width) == shown[0].shape[:2]
        if turn.isdigit():
            assert video.info.rotation == int(turn)
        assert_same(video.frames_at_indices([20, 3]), shown, [20, 3])
        assert_same(video.frames_at_times([0.0]), shown, [0])
        half = [seen(frame) for frame in decode_all(path, width=48, height=32)]
        assert_same(video.frames_at_indices([7], size=half[0].shape[:2]), half, [7])
    if turn.isdigit():  # OpenCV turns videos too
        capture = cv2.VideoCapture(str(path))
        picture = capture.read()[1][..., ::-1]
        capture.release()
        assert np.abs(picture.astype(int) - shown[0]).mean() < 3


def test_colours_are_as_drawn(videos, draw):
    with VideoReader(videos["mjpeg.mov"].path) as video:  # full range
        assert np.abs(video.frames_at_indices([4])[0].astype(int) - draw(4)).mean() < 12
    with VideoReader(videos["odd.mp4"].path) as video:  # limited range
        assert np.abs(video.frames_at_indices([4])[0].astype(int) - draw(4, 63, 97)).mean() < 8


def test_a_recording_that_begins_between_keyframes(tmp_path, videos, decode_all, read_number):
    data = videos["open.ts"].path.read_bytes()
    cut = len(data) // 188 // 3 * 188  # packets of a transport stream have 188 bytes
    path = tmp_path / "cut.ts"
    path.write_bytes(data[cut:])
    frames = decode_all(path)
    assert 5 < read_number(frames[0]) < 35
    with VideoReader(path) as video:
        assert video.info.num_frames == len(frames)
        assert_same(video.frames_at_times([0.08, 0.0]), frames, [2, 0])
        assert_same(video.frames_at_indices([len(frames) - 1, 1]), frames, [len(frames) - 1, 1])


def test_invisible_frames_are_not_counted(tmp_path, videos, remux, decode_all, read_number):
    def hide(number: int, data: bytes) -> bytes:
        return bytes([data[0] & ~0x10]) + data[1:] if number in (5, 20) else data

    path = remux(videos["vp8.webm"].path, tmp_path / "hidden.webm", change=hide)
    frames = decode_all(path)
    assert [read_number(frame) for frame in frames[:6]] == [0, 1, 2, 3, 4, 6]
    with VideoReader(path) as video:
        assert video.info.num_frames == 38
        assert_same(video.frames_at_indices([4, 5, 30]), frames, [4, 5, 30])
        assert_same(video.frames_at_times([6 / 25]), frames, [5])


@pytest.mark.parametrize("length", [7, None])
def test_packets_without_a_frame(length, tmp_path, videos, remux, decode_all):
    def not_coded(number: int, data: bytes) -> bytes:
        # ISO 14496-2, 6.2.5: start code, 2 bits type, modulo_time_base 0, marker, 5 bits of time (25 a
        # second), marker, vop_coded. Encoders write 7 bytes; what follows has no effect.
        if number not in (8, 20):
            return data
        assert data[:4] == b"\0\0\1\xb6"
        assert not data[4] & 0x20
        return (data[:5] + bytes([data[5] & ~0x20]) + data[6:])[:length]

    path = remux(videos["mpeg4.mp4"].path, tmp_path / "not_coded.mp4", change=not_coded)
    frames = decode_all(path)
    assert 36 < len(frames) < 39  # by version of FFmpeg
    wanted = [len(frames) - 1, 5, 21, 4, len(frames) - 1]
    with VideoReader(path) as video:  # asks for the frames that are not there, too
        got = video.frames_at_times(np.arange(40) / 25)
        assert {frame.tobytes() for frame in got} == {frame.tobytes() for frame in frames}
        assert_same(video.frames_at_indices(wanted), frames, wanted)
    if length == 7:
        with VideoReader(path) as video:
            assert_same(video.frames_at_indices(wanted), frames, wanted)
            assert video.info.num_frames == len(frames)


def test_only_the_group_needed_is_decoded(videos, monkeypatch):
    decoded: list[int] = []
    original = VideoReader._decode

    def spy(self, packets, wanted):
        decoded.append(len(packets))
        return original(self, packets, wanted)

    monkeypatch.setattr(VideoReader, "_decode", spy)
    with VideoReader(videos["no_b.mp4"].path) as video:  # keyframes at 0, 12, 24, 36
        video.frames_at_indices([14, 26, 25])
        video.frames_at_times([30 / 25])
    assert decoded == [3, 3, 7]


@pytest.fixture(
    scope="session", params=["film.mp4", "film.ts", "film.mkv", "live.mkv", "film.avi", "film.m4v"]
)
def film(request, tmp_path_factory, encode, decode_all) -> Video:
    """Five frames a second, keyframes every 4 s, 48 s."""
    x264 = X264 | {"g": "20", "x264-params": "scenecut=0:open-gop=1"}
    arguments = {
        "film.avi": {"codec": "mpeg4", "options": {"g": "20"}},
        "film.m4v": {"codec": "mpeg4", "options": {"g": "20"}, "muxer": "m4v"},
        "live.mkv": {"options": x264, "muxer_options": {"live": "1"}},
    }
    path = tmp_path_factory.mktemp("film") / request.param
    encode(path, num_frames=240, rate=5, **arguments.get(request.param, {"options": x264, "sound": True}))
    return Video(path, decode_all(path))


def test_seeking_in_a_film(film):
    path, frames = film
    rate = 25 if path.suffix == ".m4v" else 5  # a raw stream has no times of its own
    rng = np.random.default_rng(1)
    with VideoReader(path) as video:
        for _ in range(25):
            wanted = rng.integers(0, 240, rng.integers(1, 4))
            assert_same(video.frames_at_times(wanted / rate), frames, wanted)
        assert_same(video.frames_at_indices([200, 7, 120]), frames, [200, 7, 120])
        assert video._ordered_by_pts


def test_far_apart_times_are_sought_one_by_one(film, monkeypatch):
    if film.path.name in ("live.mkv", "film.m4v"):
        return  # have no index to seek by
    read: list[int] = []
    original = VideoReader._packets_until

    def spy(self, *args, **kwargs):
        packets = original(self, *args, **kwargs)
        read.append(len(packets))
        return packets

    monkeypatch.setattr(VideoReader, "_packets_until", spy)
    with VideoReader(film.path) as video:
        wanted = [230, 3, 110, 4]
        assert_same(video.frames_at_times(np.array(wanted) / 5), film.frames, wanted)
    assert sum(read) < 150
    assert np.count_nonzero(read) == 3


def test_cover_picture_is_not_the_video(tmp_path, encode, read_number):
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        cover = container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 400, 400, "rgb24"
        cover.disposition = 0x400  # attached_pic
        picture = av.VideoFrame.from_ndarray(np.full((400, 400, 3), 9, np.uint8), format="rgb24")
        container.mux(cover.encode(picture))
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
    with VideoReader(path) as reader:
        assert (reader.info.height, reader.info.width, reader.info.num_frames) == (64, 96, 10)
        assert reader.frames_at_indices([6])[0].mean() == pytest.approx(120, abs=4)


def _sum_of_frames(path: Path) -> int:
    with open_video(path) as video:
        return int(video.frames_at_indices([3, 30]).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(method, videos):
    path, frames = videos["closed.mp4"]
    expected = int(frames[3].sum(dtype=np.int64) + frames[30].sum(dtype=np.int64))
    with VideoReader(path) as opened_before:
        opened_before.frames_at_indices([5])
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_sum_of_frames, [path] * 4) == [expected] * 4
        assert_same(opened_before.frames_at_indices([6]), frames, [6])


def _real_clips(folder: Path) -> list[Path]:
    names = ("kinetics/*.mp4", "ucf101/*.avi", "hmdb51/*.avi", "ucf101_24/videos/*.mp4")
    return sorted(path for name in names for path in folder.glob(name))


def test_real_clips(real_data):
    rng = np.random.default_rng(0)
    clips = _real_clips(real_data)
    assert len(clips) == 18
    for path in clips:
        with VideoReader(path) as video:
            total = video.info.num_frames
            wanted = rng.integers(0, total, 6)
            got = video.frames_at_indices(wanted)
            seconds = wanted / float(video.info.rate)
            by_time = video.frames_at_times(seconds)
        with av.open(str(path), **ANY_TITLES) as container:
            count = 0
            for index, frame in enumerate(container.decode(video=0)):
                count += 1
                if index in wanted:
                    expected = frame.to_ndarray(format="rgb24")
                    for row in np.flatnonzero(wanted == index):
                        assert np.array_equal(got[row], expected), (path, index)
                        assert np.array_equal(by_time[row], expected), (path, index)
        assert count == total


def test_raw_streams_go_by_the_rate_that_ffmpeg_states(real_data):
    # Its pictures are marked 1/29.97 s apart, but all tools, and its annotation, count 25 a second.
    info = probe(real_data / "ucf101_24/videos/v_Basketball_g01_c02.mp4")
    assert (info.num_frames, info.rate, info.duration) == (180, 25, pytest.approx(7.2))
