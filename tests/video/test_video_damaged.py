"""Damaged and joined files: the frame that decoding the whole file in order gives, or an error."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.inference.stream import FileSource
from modist_det.video.reader import VideoError, VideoReader, probe
from modist_det.video.scaling import FrameScaler

X264 = {"preset": "veryfast", "g": "12", "bf": "2", "x264-params": "open-gop=0:scenecut=0"}


def join(target: Path, *paths: Path) -> Path:
    target.write_bytes(b"".join(path.read_bytes() for path in paths))
    return target


def assert_one_timeline(path: Path, read_number) -> tuple[list[int], np.ndarray]:
    """The numbers and the times of all frames, which the demo's source and the reader share."""
    scaler = FrameScaler()
    source = [(read_number(frame.rgb(scaler)), frame.second) for frame in FileSource(path).frames()]
    numbers, seconds = [number for number, _ in source], np.array([second for _, second in source])
    np.testing.assert_allclose(probe(path).times, seconds, atol=1e-6)
    with VideoReader(path) as video:
        assert [read_number(frame) for frame in video.frames_at_indices(range(len(numbers)))] == numbers
    for second, number in zip(seconds, numbers, strict=True):
        with VideoReader(path) as video:
            assert read_number(video.frames_at_times([second])[0]) == number
    return numbers, seconds


def test_an_asf_with_a_byte_too_many(tmp_path, encode, decode_all):
    """FFmpeg goes by the packets' size when it seeks, and puts other frames together than when it reads on."""
    path = encode(tmp_path / "clip.wmv", "wmv2", 78, rate=12, muxer="asf", options={"g": "4"})
    data = path.read_bytes()
    for start in (4137, 5106, 5739, 6068):
        path.write_bytes(data[:start] + b"\0" + data[start:])
        frames = decode_all(path)
        with av.open(str(path)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        refused = 0
        for index in range(0, len(frames), 2):
            with VideoReader(path) as video:
                try:
                    shown = video.frames_at_times([times[index]])[0]
                except VideoError:
                    refused += 1
                else:
                    assert np.array_equal(shown, frames[index]), (start, index)
        assert refused <= 2 and len(frames) > 20


@pytest.mark.parametrize("name", ["whole.wmv", "whole.flv", "whole.ts", "whole.avi"])
def test_whole_files_are_sought_in(name, tmp_path, encode):
    codec = {"wmv": "wmv2", "flv": "flv", "avi": "mpeg4"}.get(name[-3:], "libx264")
    options = {"g": "12"} if codec != "libx264" else X264
    muxer = "asf" if name.endswith("wmv") else None
    path = encode(tmp_path / name, codec, 60, muxer=muxer, options=options)
    with VideoReader(path) as video:
        video.frames_at_times([2.0, 0.4])
        video.frames_at_indices([45])
        assert video._ordered_by_pts


def test_a_joined_avi_is_not_sought_in_by_its_first_index(tmp_path, encode, decode_all):
    first = encode(tmp_path / "a.avi", "mpeg4", 25, options={"g": "12"})
    second = encode(tmp_path / "b.avi", "mpeg4", 20, height=48, width=80, options={"g": "12"})
    path = join(tmp_path / "joined.avi", first, second, first)
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
    assert count == 70
    frames = decode_all(first)
    with VideoReader(path) as video:
        for index in (60, 3, 47, 24):
            shown = video.frames_at_times([index / 25])[0]
            assert np.array_equal(shown, frames[index % 45]), index
            assert np.array_equal(video.frames_at_indices([index])[0], shown), index


def test_b_frames_that_an_avi_does_not_announce(tmp_path, encode, decode_all, read_number):
    path = join(
        tmp_path / "joined.avi",
        encode(tmp_path / "a.avi", "mpeg4", 20, options={"g": "12"}),
        encode(tmp_path / "b.avi", "mpeg4", 20, options={"g": "12", "bf": "2"}),
    )
    numbers, _ = assert_one_timeline(path, read_number)
    assert numbers == [read_number(frame) for frame in decode_all(path)]


def test_a_reader_forgets_the_settings_of_damaged_packets(tmp_path, encode, decode_all):
    foreign = encode(tmp_path / "foreign.avi", "mpeg2video", 10)
    clip = encode(tmp_path / "clip.avi", "mpeg4", 20, options={"g": "12"})
    path = join(tmp_path / "joined.avi", clip, foreign, clip)
    frames = decode_all(clip)
    with VideoReader(path) as video:
        for index in (5, 25, 5, 22, 15):
            try:
                shown = video.frames_at_indices([index])[0]
            except VideoError:
                assert index >= 20
                continue
            assert np.array_equal(shown, frames[index])


def test_a_transport_stream_joined_with_a_single_frame(tmp_path, encode, read_number):
    """FFmpeg makes up a time of decoding for it, seconds after it is shown."""
    options = {"g": "1", "bf": "0"}
    one = encode(tmp_path / "one.ts", "mpeg2video", 1, options=options)
    path = join(tmp_path / "joined.ts", encode(tmp_path / "a.ts", "mpeg2video", 30, options=options), one)
    for index in (29, 30, 3):
        with VideoReader(path) as video:
            assert read_number(video.frames_at_indices([index])[0]) == index % 30
    times = probe(path).times
    np.testing.assert_allclose(times[:30], np.arange(30) / 25, atol=1e-6)
    assert 29 / 25 - 1e-6 <= times[30] <= 30 / 25 + 1e-6
    numbers = [read_number(frame.rgb(FrameScaler())) for frame in FileSource(path).frames()]
    assert numbers == [*range(30), 0]


def test_a_first_decoding_time_that_is_damaged(tmp_path, encode, read_number):
    """No frame is decoded after it is shown, so the others are not put off to the time that the first one claims."""
    path = encode(tmp_path / "clip.ts", "mpeg2video", 20, options={"g": "1", "bf": "0"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
    at = data.index(b"\0\0\1\xe0", packet.pos) + 9 + 5  # ISO 13818-1, 2.4.3.7: PTS and DTS, 5 bytes each
    assert data[at] >> 4 == 1
    late = packet.pts + 45_000
    data[at : at + 5] = (1 << 4 | late >> 30 << 1 | 1, *((late >> 15 & 0x7FFF) << 1 | 1).to_bytes(2, "big"),
                         *((late & 0x7FFF) << 1 | 1).to_bytes(2, "big"))  # fmt: skip
    path.write_bytes(data)
    numbers, seconds = assert_one_timeline(path, read_number)
    assert numbers == list(range(20))
    np.testing.assert_allclose(seconds, np.arange(20) / 25, atol=1e-6)


def test_a_webm_joined_with_a_later_one(tmp_path, encode, read_number):
    vp8 = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
    first = encode(tmp_path / "a.webm", "libvpx", 20, options=vp8)
    second = encode(tmp_path / "b.webm", "libvpx", 20, pts=range(50, 70), options=vp8)
    numbers, seconds = assert_one_timeline(join(tmp_path / "joined.webm", first, second), read_number)
    assert numbers == [*range(20), *range(20)]
    np.testing.assert_allclose(seconds, np.array([*range(20), *range(50, 70)]) / 25, atol=1e-3)


def test_a_chained_ogg_is_refused_with_the_command_that_repairs_it(tmp_path, encode, decode_all):
    vp8 = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
    clip = encode(tmp_path / "clip.ogv", "libvpx", 20, muxer="ogg", options=vp8)
    path = join(tmp_path / "chained.ogv", clip, clip)
    with VideoReader(path) as video:
        assert np.array_equal(video.frames_at_indices([7])[0], decode_all(clip)[7])
        for act in (video.frames_at_indices, lambda index: video.frames_at_times([index[0] / 25])):
            with pytest.raises(VideoError, match=r"after frame 20 .*chained Ogg.*ffmpeg -i IN OUT\.mp4"):
                act([30])


def test_matroska_with_times_below_zero(tmp_path, encode, read_number):
    """FFmpeg gives the frames before time 0 without a time; they come before the others, at the stated rate."""
    path = encode(
        tmp_path / "early.mkv",
        num_frames=30,
        pts=range(-5, 25),
        options=X264,
        muxer_options={"avoid_negative_ts": "disabled"},
    )
    numbers, seconds = assert_one_timeline(path, read_number)
    assert numbers == list(range(30))
    np.testing.assert_allclose(seconds, np.arange(30) / 25, atol=1e-6)
