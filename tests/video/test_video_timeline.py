"""Frames have the times that a player shows, in files whose stamps restart, jump or leave gaps; others are refused."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.data.datasets.ava_check import duration_of
from modist_det.inference.stream import FileSource
from modist_det.video.frame_cache import FrameCache
from modist_det.video.frame_times import (
    average_rate,
    longest_pause,
    nearest,
    nearest_frames,
    reach,
    simple_rate,
)
from modist_det.video.index import has_sound_index
from modist_det.video.reader import VideoError, VideoReader, probe
from modist_det.video.scaling import FrameScaler
from modist_det.video.timeline import PacketClock

X264 = {"preset": "veryfast", "g": "12", "bf": "2"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory, encode) -> dict[str, Path]:
    """Frames 0 to 29 in several containers, some with times that begin later."""
    folder = tmp_path_factory.mktemp("parts")
    made = {}
    for name, first, muxer_options in (
        ("a.ts", 0, {}),
        ("later.ts", 25 * 300, {}),
        ("gap.ts", 25 * 5, {}),
        ("fragments.mp4", 0, {"movflags": "frag_keyframe+empty_moov"}),
        ("live.mkv", 0, {"live": "1"}),
        ("whole.mkv", 0, {}),
        ("plain.mp4", 0, {}),
    ):
        made[name] = encode(
            folder / name,
            num_frames=30,
            pts=range(first, first + 30),
            options=X264,
            muxer_options=muxer_options,
        )
    return made


def join(target: Path, *paths: Path) -> Path:
    target.write_bytes(b"".join(path.read_bytes() for path in paths))
    return target


def numbers_by_time(path: Path, seconds, read_number) -> list[int]:
    with VideoReader(path) as video:
        return [read_number(frame) for frame in video.frames_at_times(seconds)]


@pytest.mark.parametrize("second", ["a.ts", "later.ts"])
def test_joined_recordings_follow_each_other(second, parts, tmp_path, read_number):
    """As ``ffmpeg -i joined.ts -vf showinfo`` shows them: 60 frames, 0.04 s apart, wherever the second begins."""
    path = join(tmp_path / "joined.ts", parts["a.ts"], parts[second])
    expected = [*range(30), *range(30)]
    times = np.arange(60) / 25
    for wanted in ([35, 10, 59], [29], [30], list(range(60))):
        assert numbers_by_time(path, times[wanted], read_number) == [expected[i] for i in wanted]
    with VideoReader(path) as video:
        assert [read_number(frame) for frame in video.frames_at_indices(range(60))] == expected
    info = probe(path)
    assert (info.num_frames, info.rate, info.duration) == (60, 25, pytest.approx(2.4))
    np.testing.assert_allclose(info.times, times, atol=1e-6)
    source = list(FileSource(path).frames())
    np.testing.assert_allclose([frame.second for frame in source], times, atol=1e-6)
    with FrameCache(tmp_path / "frames").open(path) as cached:
        assert [read_number(frame) for frame in cached.frames_at_times(times[[44, 3]])] == [14, 3]


def test_a_gap_between_recordings_is_kept_and_no_frame_is_damaged(parts, tmp_path, read_number):
    path = join(tmp_path / "gap.ts", parts["a.ts"], parts["gap.ts"])
    # 0 to 1.16 s, then 5 s after the first file's first packet, which the muxer put 2 frames before its first frame.
    second = 5 - 2 / 25
    seconds = [1.16, 1.08, second, second + 0.2, 3.9]
    assert numbers_by_time(path, seconds, read_number) == [29, 27, 0, 5, 29]
    assert probe(path).times[-1] == pytest.approx(second + 29 / 25)


@pytest.mark.parametrize("name", ["fragments.mp4", "live.mkv"])
def test_times_that_go_back_are_refused(name, parts, tmp_path):
    path = join(tmp_path / f"joined{Path(name).suffix}", parts[name], parts[name])
    for opened in (VideoReader, FileSource, probe):
        with pytest.raises(VideoError, match=r"go back from 1\.\d+ s to .*ffmpeg -i"):
            opened(path)
    assert probe(parts[name]).num_frames == 30


def test_which_files_are_read_through(parts, tmp_path, encode):
    mp4, mkv = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
    assert has_sound_index(parts["plain.mp4"], mp4)
    assert not has_sound_index(parts["fragments.mp4"], mp4)
    assert has_sound_index(parts["whole.mkv"], mkv)
    assert not has_sound_index(parts["live.mkv"], mkv)
    assert not has_sound_index(join(tmp_path / "two.mkv", parts["whole.mkv"], parts["whole.mkv"]), mkv)
    cut_off = tmp_path / "cut.mkv"
    cut_off.write_bytes(parts["whole.mkv"].read_bytes()[:-2000])
    assert has_sound_index(cut_off, mkv)
    assert not has_sound_index(parts["a.ts"], "mpegts")
    offset = encode(tmp_path / "offset.mp4", pts=range(-7, 33), options=X264)  # one edit
    assert has_sound_index(offset, mp4)


def edit(path: Path, *cuts: tuple[int, int]) -> Path:
    """The mp4 with an edit list of parts (first frame, number of frames), at 25 frames a second."""
    data = path.read_bytes()
    at = data.index(b"edts") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    delay = int.from_bytes(data[data.index(b"elst") + 16 :][:4], "big")
    movie = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    entries = b"".join(
        (count * movie // 25).to_bytes(4, "big")
        + (delay + first * scale // 25).to_bytes(4, "big")
        + b"\0\1\0\0"
        for first, count in cuts
    )
    elst = b"elst" + bytes(4) + len(cuts).to_bytes(4, "big") + entries
    edts = b"edts" + (len(elst) + 4).to_bytes(4, "big") + elst
    new = (len(edts) + 4).to_bytes(4, "big") + edts
    grown = bytearray(data[:at] + new + data[at + old :])
    for box in (b"moov", b"trak"):  # the index comes after the frames, whose places stay
        start = grown.index(box) - 4
        size = int.from_bytes(grown[start : start + 4], "big") + len(new) - old
        grown[start : start + 4] = size.to_bytes(4, "big")
    target = path.with_name("edited.mp4")
    target.write_bytes(grown)
    return target


def test_edit_lists_that_cut_between_keyframes(encode, tmp_path, read_number):
    path = edit(encode(tmp_path / "whole.mp4", num_frames=60, options=X264), (5, 10), (30, 12), (50, 8))
    shown = [*range(5, 15), *range(30, 42), *range(50, 58)]
    with av.open(str(path)) as container:
        decoded = container.decode(video=0)
        truth = [(round(f.time * 25), read_number(f.to_ndarray(format="rgb24"))) for f in decoded]
    once = [(place, number) for place, number in truth if [p for p, _ in truth].count(place) == 1]
    assert len(once) > 25  # FFmpeg gives the frame at a cut twice
    assert {number for _, number in once} <= set(shown)
    for place, number in once:
        assert numbers_by_time(path, [place / 25], read_number) == [number]
    scaler = FrameScaler()
    source = [(frame.second, read_number(frame.rgb(scaler))) for frame in FileSource(path).frames()]
    for place, number in once:
        assert any(abs(second - place / 25) < 0.005 and found == number for second, found in source)


def drop(path: Path) -> Path:
    """The AVI with four empty chunks after each frame from 20 on, as recorders write where they dropped a frame."""
    target = path.with_name(f"dropped_{path.name}")
    with av.open(str(path)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in reader.demux(stream) if p.size):
            made = av.Packet(bytes(packet))
            # AVI's muxer fills up what is left out with empty chunks.
            made.pts = made.dts = number if number < 20 else 20 + 5 * (number - 20)
            made.time_base, made.is_keyframe, made.stream = Fraction(1, 25), packet.is_keyframe, copy
            writer.mux(made)
    return target


@pytest.mark.parametrize(("codec", "b_frames"), [("mpeg4", 0), ("mpeg4", 2), ("libx264", 0), ("libx264", 2)])
def test_dropped_frames_of_an_avi(codec, b_frames, encode, tmp_path, read_number):
    """Frame i is shown with the chunk that completes it: later by the decoder's delay, in which no frame is shown."""
    options = {"g": "12", "bf": str(b_frames)} | ({"preset": "veryfast"} if codec == "libx264" else {})
    path = drop(encode(tmp_path / "a.avi", codec, options=options))
    chunk_times = np.array([i if i < 20 else 20 + 5 * (i - 20) for i in range(40)]) / 25
    delay = {("mpeg4", 2): 1, ("libx264", 2): 2}.get((codec, b_frames), 0)
    expected = chunk_times[delay:] - chunk_times[delay]
    source = [frame.second for frame in FileSource(path).frames()]
    for times in (probe(path).times, np.array(source)):
        np.testing.assert_allclose(times[: 40 - delay], expected, atol=1e-6)
        # The last frames, which come when the decoder is emptied, follow at the spacing that the muxer wrote.
        assert len(times) == 40 and (np.diff(times[-delay - 1 :]) > 0).all()
    for number in (0, 19, 25, 30, 37):
        assert numbers_by_time(path, [expected[number]], read_number) == [number]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_every_second_chunk_of_an_avi_left_out(codec, encode, tmp_path, read_number):
    """As ``ffmpeg -i A.mp4 -c copy A.avi`` leaves H.264: chunks are even, and still two places apart."""
    options = {"g": "12", "bf": "2"} | ({"preset": "veryfast"} if codec == "libx264" else {})
    path = encode(tmp_path / "a.avi", codec, options=options)
    with av.open(str(path)) as reader, av.open(str(tmp_path / "b.avi"), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in reader.demux(stream) if p.size):
            made = av.Packet(bytes(packet))
            made.pts = made.dts = 2 * number
            made.time_base, made.is_keyframe, made.stream = Fraction(1, 25), packet.is_keyframe, copy
            writer.mux(made)
    times = probe(tmp_path / "b.avi").times
    np.testing.assert_allclose(times[:37], np.arange(37) * 2 / 25, atol=1e-6)
    source = [frame.second for frame in FileSource(tmp_path / "b.avi").frames()]
    np.testing.assert_allclose(source, times, atol=1e-6)
    assert numbers_by_time(tmp_path / "b.avi", [0.8, 2.4], read_number) == [10, 30]


def test_stamps_that_pass_their_highest_number(encode, tmp_path, read_number):
    first = (1 << 33) * 25 // 90000 - 20  # MPEG-TS counts 33 bits of 1/90000 s
    path = encode(tmp_path / "wrap.ts", num_frames=60, pts=range(first, first + 60), options=X264)
    assert numbers_by_time(path, [0.2, 1.6, 2.36], read_number) == [5, 40, 59]
    assert probe(path).duration == pytest.approx(2.4)


class Format:
    name = "mpegts"
    flags = 0x0200


class Stream:
    time_base, average_rate, guessed_rate = Fraction(1, 1000), Fraction(25), None


def test_the_clock_by_hand():
    """Milliseconds; 40 ms a frame. Jumps of 10 s or more and steps back of more than 0.1 s are closed, others kept."""
    container = type("Container", (), {"format": Format})
    clock = PacketClock(container, Stream)  # type: ignore[arg-type]
    found = []
    for stamp in (0, 40, 80, 5000, 5040, 4990, 0, 40, 20_000, 20_040, 15_000):
        packet = av.Packet(b"-")
        packet.pts, packet.dts = stamp + 80, stamp
        clock.correct(packet)
        assert packet.pts == packet.dts + 80
        found.append(packet.dts)
    assert found == [0, 40, 80, 5000, 5040, 4990, 5030, 5070, 5110, 5150, 5190]


# ---- gaps -----------------------------------------------------------------------------------------


def test_a_long_gap_shows_the_frame_before(encode, tmp_path, read_number):
    path = encode(tmp_path / "screen.mp4", num_frames=6, rate=5, pts=[0, 1, 41, 42, 46, 52], options=X264)
    seconds = [0.1, 0.11, 4.0, 7.9, 8.1, 8.1995, 8.2, 8.8, 8.81, 9.3, 10.2, 10.4]
    expected = [0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4, 5]  # 0.8 s to 9.2 s: the nearer; then 1.2 s: the earlier
    assert numbers_by_time(path, seconds, read_number) == expected
    with FrameCache(tmp_path / "frames").open(path) as cached:
        assert [read_number(frame) for frame in cached.frames_at_times(seconds)] == expected


def test_a_check_names_a_long_gap(encode, tmp_path):
    path = encode(tmp_path / "screen.mp4", num_frames=5, pts=[0, 1, 2, 202, 203], options=X264)
    doubts: list[str] = []
    assert duration_of(str(path), None, doubts) == pytest.approx(probe(path).duration)
    assert len(doubts) == 1 and "screen.mp4: no new frame from 0.08 to 8.08 s" in doubts[0]


def test_nearest_by_hand():
    times = np.array([0.0, 1.0, 1.5, 4.0, 4.0])
    wanted = np.array([0.5, 0.51, 1.24, 1.25, 1.26, 3.9, 3.9995, 4.0, 9.0])
    assert nearest(times, wanted, 1e-9).tolist() == [0, 1, 1, 1, 2, 2, 4, 4, 4]
    assert nearest(times * 90_000, wanted * 90_000, 1e-6, 90_000).tolist() == [0, 1, 1, 1, 2, 2, 4, 4, 4]
    assert nearest_frames(np.array([1.9, 2.0, 3.9]), Fraction(1, 2)).tolist() == [0, 1, 1]
    assert nearest_frames(np.array([0.5, 0.51]), Fraction(1)).tolist() == [0, 1]
    assert (reach(0.04), reach(8.0)) == (0.02, pytest.approx(7.999))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0, 0.04, 8.0, 8.04], (0.04, 8.0)),
        ([0.0, 0.04, 4.0, 4.04], None),
        ([0.0, 3600.0, 7200.0], None),  # a time-lapse
        ([0.0], None),
    ],
)
def test_pauses(times, expected):
    assert longest_pause(np.array(times)) == expected


def test_rates_are_as_stated_where_the_frames_agree():
    assert average_rate(Fraction(25), 51, 2.0) == 25
    assert average_rate(Fraction(25), 51, 2.01) == 25  # headers round
    assert average_rate(Fraction(1), 6, 5 * 3600.0) == Fraction(1, 3600)
    assert average_rate(Fraction(25), 1, 0.0) == 25


def test_a_frame_an_hour(encode, tmp_path, read_number):
    path = encode(tmp_path / "hourly.mp4", num_frames=4, rate=1, pts=[0, 3600, 7200, 10800], options=X264)
    info = probe(path)
    assert (info.rate, info.duration) == (Fraction(1, 3600), pytest.approx(14400))
    assert numbers_by_time(path, [0, 3599, 3600, 10800], read_number) == [0, 0, 1, 3]
    assert (simple_rate(30000 / 1001), simple_rate(1 / 86400)) == (Fraction(30000, 1001), Fraction(1, 86400))


# ---- against the ffmpeg program, where it is installed ---------------------------------------------


def test_the_program_ffmpeg_shows_the_same_times(parts, tmp_path):
    path = join(tmp_path / "joined.ts", parts["later.ts"], parts["a.ts"], parts["gap.ts"])
    command = [
        "ffmpeg",
        "-hide_banner",
        "-i",
        path,
        "-vf",
        "showinfo",
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
    ]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    times = np.array(
        [float(word.removeprefix("pts_time:")) for word in shown.split() if word.startswith("pts_time:")]
    )
    np.testing.assert_allclose(probe(path).times, times - times[0], atol=1e-4)
