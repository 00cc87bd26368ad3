"""Files that cannot be read, or not wholly: one line with the path and the reason, nothing on stderr."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.utils.errors import UserError
from modist_det.video.container import ANY_TITLES, demux
from modist_det.video.errors import reading
from modist_det.video.reader import VideoError, VideoReader, open_video, probe

X264 = {"preset": "veryfast", "g": "12", "bf": "2"}


def assert_refused(path, reason: str) -> None:
    for act in (open_video, probe):
        with pytest.raises(VideoError, match=reason) as caught:
            act(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, encode):
    """An mp4 with its index in front of the frames, keyframes at 0, 12, 24, 36, 48."""
    path = tmp_path_factory.mktemp("healthy") / "clip.mp4"
    options = X264 | {"x264-params": "open-gop=0:scenecut=0"}
    return encode(path, num_frames=60, options=options, muxer_options={"movflags": "faststart"})


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "no such.mp4", "No such file")


def test_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert_refused(tmp_path / "empty.mp4", r"empty \(0 bytes\)")


def test_only_zeros(tmp_path):
    (tmp_path / "zeros.mp4").write_bytes(bytes(100_000))
    assert_refused(tmp_path / "zeros.mp4", "only zero bytes")


@pytest.mark.parametrize("text", ["404 Not Found\n" * 50, "<html><body>Sign in</body></html>", "x"])
def test_text_called_mp4(text, tmp_path):
    (tmp_path / "page.mp4").write_text(text)
    assert_refused(tmp_path / "page.mp4", "text file")


def test_noise(tmp_path):
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(50_000))
    assert_refused(tmp_path / "noise.avi", "not a video, or a damaged one|no frame of it can be decoded")


def test_only_sound(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert_refused(path, "no video stream, only audio")


def test_only_sound_and_a_cover(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = 0x400  # attached_pic
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 9, np.uint8), format="rgb24")
        container.mux(cover.encode(picture))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert_refused(path, "only sound and a cover image")


def test_mp4_without_its_index(tmp_path, encode):
    path = encode(tmp_path / "clip.mp4", options=X264)
    path.write_bytes(path.read_bytes()[:-3000])  # the index is at the end
    assert_refused(path, "'moov'")


def test_no_permission(tmp_path, encode):
    path = encode(tmp_path / "secret.mp4", num_frames=5)
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        assert_refused(path, "[Pp]ermission denied")
    finally:
        os.seteuid(user)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(VideoError, match="it is a folder"):
        VideoReader(tmp_path)


def test_nothing_that_can_be_decoded(tmp_path, healthy):
    data = healthy.read_bytes()
    start = data.index(b"mdat") + 4
    path = tmp_path / "hollow.mp4"
    path.write_bytes(data[:start] + bytes(len(data) - start))
    assert_refused(path, "no frame of it can be decoded")


@pytest.mark.parametrize("share", [0.95, 0.5])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
def test_a_truncated_file_ends_with_its_last_whole_frame(name, share, tmp_path, healthy, encode, decode_all):
    if name == "clip.avi":
        path = encode(tmp_path / name, "mjpeg", 60, pix_fmt="yuvj420p")
    elif name == "clip.mp4":
        path = tmp_path / name
        path.write_bytes(healthy.read_bytes())
    else:
        path = encode(tmp_path / name, num_frames=60, options=X264 | {"x264-params": "open-gop=0:scenecut=0"})
    frames = decode_all(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with VideoReader(path) as video:
        total = video.info.num_frames
        assert 10 < total < 60
        # In the last group of pictures frames shown earlier may be missing: times stay right.
        wanted = [0, 10, total // 2]
        assert np.array_equal(video.frames_at_times(np.array(wanted) / 25), [frames[i] for i in wanted])
        if name == "clip.ts":  # does not tell whether its last frame is whole: a frame or an error
            return
        last = video.frames_at_times([9999])[0]
        assert np.array_equal(video.frames_at_indices([total + 5])[0], last)
        assert any(np.array_equal(last, frame) for frame in frames[total - 3 :])


@pytest.mark.parametrize("junk", ["zeros", "noise", "half"])
def test_damage_in_the_middle(junk, tmp_path, healthy, decode_all, capfd):
    frames = decode_all(healthy)
    with av.open(str(healthy)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        hit = packets[25]
        start, length = hit.pos, hit.size
    if junk == "half":  # a picture that is decoded in part
        start, length = start + length // 2, length - length // 2
    data = bytearray(healthy.read_bytes())
    data[start : start + length] = (
        np.random.default_rng(1).bytes(length) if junk == "noise" else bytes(length)
    )
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with VideoReader(path) as video:
        assert video.info.num_frames == 60
        # The groups of pictures before and after are whole.
        assert np.array_equal(video.frames_at_indices([23, 5, 36, 59]), [frames[i] for i in (23, 5, 36, 59)])
        with pytest.raises(VideoError, match=rf"{path}: damaged at about (0\.9|1\.)"):
            video.frames_at_indices([3, 35])
        # The reader is as good as before.
        assert np.array_equal(video.frames_at_times([0.2]), [frames[5]])
    assert capfd.readouterr().err == ""


def test_lost_packets_of_a_transport_stream(tmp_path, encode, decode_all):
    path = encode(
        tmp_path / "clip.ts", num_frames=60, options=X264 | {"x264-params": "open-gop=0:scenecut=0"}
    )
    frames = decode_all(path)
    with av.open(str(path)) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][25]
    data = path.read_bytes()
    path.write_bytes(data[: hit.pos + 188] + data[hit.pos + 2 * 188 :])
    with VideoReader(path) as video:
        assert np.array_equal(video.frames_at_times([0.2, 1.6]), [frames[5], frames[40]])
        for index in (24, 27, 35):  # marked by the demuxer, hit, and one that depends on them
            with pytest.raises(VideoError, match="damaged"):
                video.frames_at_times([index / 25])


@pytest.mark.parametrize("half", [False, True])
def test_damage_is_found_where_frames_are_counted(half, tmp_path, encode, decode_all):
    path = encode(tmp_path / "clip.avi", options=X264 | {"g": "10", "x264-params": "open-gop=0:scenecut=0"})
    frames = decode_all(path)
    with av.open(str(path)) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][21]  # the 22nd of 40
    first = hit.pos + 8 + (hit.size // 2 if half else 0)  # 8 bytes of chunk header
    data = bytearray(path.read_bytes())
    data[first : hit.pos + 8 + hit.size] = bytes(hit.pos + 8 + hit.size - first)
    path.write_bytes(data)
    with VideoReader(path) as video:
        assert np.array_equal(video.frames_at_indices([5]), [frames[5]])
        with pytest.raises(VideoError, match="damaged"):
            video.frames_at_indices([28])


def test_metadata_that_is_not_utf8(real_data):
    clip = real_data / "hmdb51/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi"
    if ANY_TITLES:  # before PyAV 19
        with pytest.raises(UnicodeDecodeError):
            av.open(str(clip))
    assert probe(clip).num_frames == 83


@pytest.mark.parametrize("name", ["a:b.mp4", "100%d.mp4", "sp ace #1.mp4", "clip", "filme\u0301.mp4"])
def test_any_file_name(name, tmp_path, healthy, monkeypatch):
    (tmp_path / name).write_bytes(healthy.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe(name).num_frames == 60


def test_errors_cross_process_boundaries():
    error = pickle.loads(pickle.dumps(VideoError("x.mp4", "it is a folder")))
    assert isinstance(error, UserError)
    assert (error.path, error.reason) == ("x.mp4", "it is a folder")
    assert str(error) == "cannot read video x.mp4: it is a folder"


def test_files_are_closed(healthy, tmp_path):
    (tmp_path / "page.mp4").write_text("no video")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        with VideoReader(healthy) as video:
            video.frames_at_indices([30])
        with pytest.raises(VideoError):
            VideoReader(tmp_path / "page.mp4")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_stream_that_begins_on_the_way(tmp_path, encode, decode_all):
    """All frames of a transport stream whose sound begins late."""
    silent = encode(tmp_path / "silent.ts", num_frames=30, options=X264)
    with_sound = encode(tmp_path / "sound.ts", num_frames=30, options=X264, sound=True)
    path = tmp_path / "joined.ts"
    # FFmpeg looks for streams in the first 5 MB; packets of nothing (PID 0x1fff) keep the sound from being found there.
    nothing = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * (6_000_000 // 188)
    path.write_bytes(silent.read_bytes() + nothing + with_sound.read_bytes())
    with VideoReader(path) as video:
        assert video.info.num_frames == 60
        assert np.array_equal(video.frames_at_times([2.36])[0], decode_all(with_sound)[-1])


@pytest.mark.parametrize(("height", "width"), [(2, 4096), (4096, 2)])
def test_shapes_that_would_become_enormous(height, width, tmp_path, encode):
    """6 kB of 4096 x 2 pixels, scaled to a short side of 256: 403 MB a frame."""
    path = tmp_path / "thin.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with VideoReader(path) as video:
        assert video.frames_at_indices([0]).shape == (1, height, width, 3)
        with pytest.raises(
            VideoError, match=rf"{path}.*{width} x {height} pixels would become .*at most 16384"
        ):
            video.frames_at_indices([0], short_side=256)
        with pytest.raises(VideoError, match="8 GiB"):
            video.frames_at_indices(np.zeros(400, int), size=(4096, 4096))


def test_frames_that_are_listed_and_not_there(tmp_path, encode):
    """Packets of an HEVC stream without their keyframe: never the last frame instead of one that is missing."""
    path = tmp_path / "hollow.mkv"
    source = encode(
        tmp_path / "whole.mkv",
        "libx265",
        options={"preset": "ultrafast", "x265-params": "log-level=none:keyint=12:bframes=3:pools=1"},
    )
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in reader.demux(stream) if packet.size):
            if number >= 30:  # units that the decoder knows to skip
                made = av.Packet(b"\0\0\0\x03\x4e\x01\x80")
                made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
                packet = made
            packet.stream = copy
            writer.mux(packet)
    with VideoReader(path) as video:
        listed = video.info.num_frames
        assert listed == 40
        with pytest.raises(VideoError, match="damaged"):
            video.frames_at_indices([listed - 1])


@pytest.mark.parametrize(
    "error",
    [
        IndexError("list index out of range"),
        OverflowError("x"),
        MemoryError(),
        UnicodeDecodeError("a", b"", 0, 1, ""),
    ],
)
def test_whatever_pyav_raises_is_an_error_of_the_video(error):
    with pytest.raises(VideoError, match="cannot read video a.mp4: damaged"), reading("a.mp4"):
        raise error


def test_pyav_stumbles_at_the_end_of_a_file(healthy):
    """Before version 19 with an IndexError, where a stream began on the way; every packet was there by then."""

    class Stumbling:
        def __init__(self, container) -> None:
            self.format = container.format
            self.container = container

        def demux(self, stream):
            yield from self.container.demux(stream)
            raise IndexError("list index out of range")

    with av.open(str(healthy)) as container:
        stream = container.streams.video[0]
        assert len(list(demux(Stumbling(container), stream, healthy))) == 60


@pytest.mark.parametrize("lost", ["all of it", "its head"])
def test_an_avi_that_lost_a_chunk_is_read_as_it_plays(lost, tmp_path, encode, decode_all):
    """Frames after the loss come one earlier than the file's index has them."""
    path = encode(tmp_path / "clip.avi", "mjpeg", 60, pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        chunk = [bytes(packet) for packet in container.demux(video=0)][25]
    whole = path.read_bytes()
    start = whole.index(chunk) - 8
    end = start + 8 + len(chunk) + len(chunk) % 2
    path.write_bytes(whole[:start] + (b"" if lost == "all of it" else bytes(end - start)) + whole[end:])
    frames = decode_all(path)
    assert len(frames) == 59
    wanted = [58, 10, 24, 25, 26, 50]
    for index in wanted:  # each from a reader of its own, which begins with a seek
        with VideoReader(path) as video:
            assert np.array_equal(video.frames_at_times([index / 25])[0], frames[index])
            assert np.array_equal(video.frames_at_indices([index])[0], frames[index])
    with VideoReader(path) as video:
        assert video.info.num_frames == 59
