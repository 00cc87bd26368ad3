"""Sources and stages: order, times, damage, and threads that end."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections import deque

import av
import cv2
import numpy as np
import pytest

from modist_det.inference.choose import find_inputs
from modist_det.inference.pipeline import PipelineSettings, mark_due
from modist_det.inference.stream import (
    CameraSource,
    FileSource,
    FolderSource,
    StreamFrame,
    in_background,
    open_source,
)
from modist_det.utils.errors import UserError
from modist_det.video.info import FrameScaler
from modist_det.video.reader import VideoError, open_video


def test_a_file_gives_the_reader_s_frames(film, tmp_path):
    """Size for size the same pixels and times as random access."""
    path = film(tmp_path / "a.mp4", np.arange(20) / 25)
    source = open_source(path)
    assert (source.name, source.width, source.height, float(source.rate)) == ("a", 64, 48, 25)
    frames = list(source.frames())
    with open_video(path) as video:
        expected = video.frames_at_indices(range(20), short_side=32)
    scaler = FrameScaler()
    np.testing.assert_allclose([frame.second for frame in frames], np.arange(20) / 25, atol=1e-6)
    for frame, picture in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.rgb(scaler, picture.shape[:2]), picture)


def test_variable_rate(film, tmp_path):
    seconds = [0.0, 0.04, 0.5, 0.6, 2.0, 2.04]
    frames = list(open_source(film(tmp_path / "a.mp4", seconds)).frames())
    np.testing.assert_allclose([frame.second for frame in frames], seconds, atol=1e-3)


def test_a_truncated_file_ends_early(film, tmp_path):
    path = film(tmp_path / "a.mkv", np.arange(100) / 25)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = list(open_source(path).frames())
    assert 20 < len(frames) < 100
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_damage_is_passed_over(film, tmp_path):
    path = film(tmp_path / "a.mp4", np.arange(100) / 25)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    data[start : start + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(data)
    seconds = [frame.second for frame in open_source(path).frames()]
    assert len(seconds) > 50 and (np.diff(seconds) > 0).all()


def test_folder_of_frames(tmp_path):
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), np.full((20, 30, 3), number, np.uint8))
    (tmp_path / "f5.png").write_bytes(b"broken")
    source = open_source(tmp_path, fps=10)
    assert isinstance(source, FolderSource) and source.duration == pytest.approx(1.2)
    frames = list(source.frames())
    assert [int(f.rgb(FrameScaler())[0, 0, 0]) for f in frames] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert frames[5].second == pytest.approx(0.6)  # in its own place, beside the gap
    assert source.damaged == 1


def test_a_name_of_digits_is_a_camera_only_for_open_source(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "a.mp4", np.arange(2) / 25).rename("12")
    (tmp_path / "7").mkdir()
    cv2.imwrite("7/0.png", np.zeros((20, 30, 3), np.uint8))
    assert (FileSource("12").name, FolderSource("7").name) == ("12", "7")
    with pytest.raises(VideoError, match="no such camera"):
        open_source("7")


class FakeCapture:
    """What ``cv2.VideoCapture`` gives: pictures for a while, then failures, as when the cable is pulled."""

    def __init__(self, pictures: int) -> None:
        self.left = pictures
        self.released = False

    def read(self):
        time.sleep(0.005)
        self.left -= 1
        return (True, np.full((20, 30, 3), (1, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

    def get(self, property):
        return 30.0

    def release(self):
        self.released = True


def test_camera_that_disappears():
    capture = FakeCapture(7)
    source = CameraSource(capture, patience=0.2)
    frames = list(source.frames())
    assert len(frames) == 7 and capture.released and source.live
    assert (np.diff([frame.second for frame in frames]) > 0).all()
    assert frames[0].rgb(FrameScaler())[0, 0].tolist() == [3, 2, 1]  # RGB


def test_camera_that_is_stopped():
    source = CameraSource(FakeCapture(10**9), patience=0.2)
    frames = source.frames()
    assert len(list(itertools.islice(frames, 5))) == 5
    source.stop()
    assert list(frames) == []


def test_no_camera():
    with pytest.raises(VideoError, match="no image"):
        CameraSource(FakeCapture(0), patience=0.1)
    with pytest.raises(VideoError, match="no such camera"):
        open_source("/dev/video97")


def test_no_such_address():
    with pytest.raises(VideoError, match="cannot read video"):
        open_source("http://127.0.0.1:9/none.mp4")


# Stages


def test_background_keeps_order_and_stays_within_its_bound():
    made = []

    def numbers():
        for number in range(200):
            made.append(number)
            yield number

    stage = in_background(numbers(), 3)
    assert next(stage) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1 + 1  # taken, waiting, in hand
    assert list(stage) == list(range(1, 200))


def test_background_hands_over_errors():
    def broken():
        yield 1
        raise UserError("the third stage fell down")

    stage = in_background(broken(), 2)
    assert next(stage) == 1
    with pytest.raises(UserError, match="fell down"):
        next(stage)


def test_closing_ends_all_threads():
    closed = threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    before = threading.active_count()
    stage = in_background(in_background(in_background(endless(), 2), 2), 2)
    assert next(stage) == 0
    stage.close()
    assert closed.wait(5)
    assert threading.active_count() == before


def test_dropping_keeps_the_latest():
    def numbers():
        for number in range(50):
            time.sleep(0.004)
            yield number

    seen = []
    for number in in_background(numbers(), 2, drop=True):
        time.sleep(0.03)
        seen.append(number)
    assert seen == sorted(seen) and seen[-1] == 49
    assert len(seen) < 25
    # What is seen is at most the bound and the time of one step behind.
    assert max(np.diff(seen)) < 20


def test_frames_are_not_kept(film, tmp_path):
    """Of a stream that was read, only frames that somebody holds are alive."""
    source = open_source(film(tmp_path / "a.mp4", np.arange(60) / 25))
    (frame,) = deque(source.frames(), maxlen=1)
    gc.collect()
    alive = sum(isinstance(thing, StreamFrame) for thing in gc.get_objects())
    assert alive <= 1 and frame.index == 59


# Which frames are searched


def due_at(seconds, **settings) -> list[tuple[float, float | None, bool]]:
    frames = [StreamFrame(i, s, np.zeros((2, 2, 3), np.uint8)) for i, s in enumerate(seconds)]
    marked = mark_due(frames, PipelineSettings(**settings))
    return [(due.frame.second, due.second, due.keyframe) for due in marked if due.second is not None]


def test_searches_lie_nearest_to_multiples():
    """30 frames a second, keyframes every 0.5 s, a search at least every 0.2 s: every 1/6 s, five frames."""
    found = due_at(np.arange(31) / 30, keyframe_every=0.5, detect_every=0.2)
    assert [round(frame * 30) for frame, _, _ in found] == [0, 5, 10, 15, 20, 25, 30]
    assert [second for _, second, keyframe in found if keyframe] == [0.0, 0.5, 1.0]


def test_nearest_frame_at_an_odd_rate():
    """7 frames a second: 0.5 lies between frames 3 (0.4286) and 4 (0.5714) and as near to both; the earlier counts."""
    found = due_at(np.arange(15) / 7, keyframe_every=0.5, detect_every=0.5)
    times = np.arange(15) / 7
    for frame, second, _ in found:
        assert frame == times[np.abs(times - second).round(9).argmin()]
    assert [second for _, second, _ in found] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_slides_and_single_frames():
    found = due_at([0.0, 10.0, 10.04], keyframe_every=1.0, detect_every=0.2)
    assert found == [(0.0, 0.0, True), (10.0, 10.0, True)]  # a slide is shown until the next one comes
    assert due_at([0.0], keyframe_every=1.0) == [(0.0, 0.0, True)]
    assert due_at([]) == []


def test_seconds_of_keyframes_are_exact():
    found = due_at(np.arange(300) / 30, keyframe_every=0.1, detect_every=0.2)
    assert [second for _, second, _ in found] == [n * 0.1 for n in range(len(found))]


@pytest.mark.parametrize("setting", ["keyframe_every", "detect_every", "max_gap"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_settings(setting, value):
    with pytest.raises(UserError, match=setting):
        PipelineSettings(**{setting: value})


# What the user names


def test_inputs(film, tmp_path):
    for name in ("b10.mp4", "b9.mp4"):
        film(tmp_path / name, [0.0])
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "1.png"), np.zeros((4, 4, 3), np.uint8))
    assert list(find_inputs([str(tmp_path)])) == ["b9", "b10"]
    assert find_inputs([str(tmp_path / "frames"), "0", "rtsp://host/live/door?x=1"]) == {
        "frames": str(tmp_path / "frames"),
        "camera0": "0",
        "door": "rtsp://host/live/door?x=1",
    }
    with pytest.raises(UserError, match="would both be called b9"):
        find_inputs([str(tmp_path), str(tmp_path / "b9.mp4")])
    with pytest.raises(UserError, match="nowhere.mp4 does not exist"):
        find_inputs([str(tmp_path / "nowhere.mp4")])


def test_writer_of_other_sizes(tmp_path):
    """A network stream that changes its size goes on in the first one."""
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    other = tmp_path / "b.ts"
    with av.open(str(other), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes() + other.read_bytes())
    frames = list(open_source(path).frames())
    assert {frame.size for frame in frames} == {(48, 64)} and len(frames) > 5
