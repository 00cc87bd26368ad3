"""A whole stream: what comes out is what the parts give one by one, and every kind of video ends well."""

from __future__ import annotations

import gc
import json
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.formats.ava.files import read_detections
from modist_det.inference import (
    Outputs,
    PersonBoxes,
    PipelineSettings,
    VideoActions,
    annotate,
    build_person_detector,
    open_source,
    predict_video,
)
from modist_det.inference.pipeline import ActionStream, Shown, StageTimes, find_people, mark_due
from modist_det.inference.run import RunReport, _SheetFrames, stream_actions
from modist_det.inference.stream import CameraSource, StreamFrame
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video
from modist_det.video.writer import VideoWriter

PLAIN = PipelineSettings(keyframe_every=0.5, detect_every=0.25, smoothing=0.0)


def test_scores_are_those_of_random_access(predictor, square_detector, film, tmp_path):
    """Each keyframe: the clip read anew, the box where the square is at that time."""
    path = film(tmp_path / "a.mp4", np.arange(75) / 25)
    found = predict_video(path, predictor, square_detector, PLAIN)
    assert [k.second for k in found.keyframes] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert (found.num_frames, found.duration) == (75, pytest.approx(3.0))
    with open_video(path) as video:
        for keyframe in found.keyframes:
            clip = video.frames_at_times(keyframe.second + predictor.offsets, short_side=32)
            size = np.array([clip.shape[2], clip.shape[1]] * 2, np.float32)
            expected = predictor(clip, keyframe.boxes * size)
            np.testing.assert_allclose(keyframe.scores, expected.scores, rtol=1e-4, atol=1e-6)
            left = round(4 + 8 * keyframe.second)
            np.testing.assert_allclose(
                keyframe.boxes * [64, 48, 64, 48], [[left, 16, left + 16, 32]], atol=1.01
            )
    assert len(square_detector.seen) == 12  # every 0.25 s
    assert {k.track_ids.tolist()[0] for k in found.keyframes} == {1}


def changing_ground(second, height, width):
    """The ground changes, so that scores do."""
    picture = np.full((height, width, 3), 10 + 170 * (int(second * 3) % 2), np.uint8)
    picture[16:32, 20:36] = 255
    return picture


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_smoothing_by_hand(predictor, square_detector, film, tmp_path, batch_size):
    """Half-life 0.5 s, keyframes 0.5 s apart: weights 1/2, 1, 1/2, without what is beyond the ends."""

    path = film(tmp_path / "a.mp4", np.arange(60) / 25, draw=changing_ground)
    raw = np.stack([k.scores[0] for k in predict_video(path, predictor, square_detector, PLAIN).keyframes])
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.25, smoothing=0.5, batch_size=batch_size)
    found = predict_video(path, predictor, square_detector, settings)
    smooth = np.stack([k.scores[0] for k in found.keyframes])
    padded = np.pad(raw, ((1, 1), (0, 0)))
    weights = np.pad(np.ones(len(raw)), 1)
    expected = (padded[:-2] / 2 + padded[1:-1] + padded[2:] / 2) / (
        weights[:-2] / 2 + weights[1:-1] + weights[2:] / 2
    )[:, None]
    np.testing.assert_allclose(smooth, expected, rtol=1e-4)
    assert np.abs(smooth - raw).max() > 1e-3


def test_tubes(predictor, square_detector, film, tmp_path):
    """The square is there from 1.0 to 2.2 s: one tube with these ends, and its actions inside of it."""

    def draw(second, height, width):
        picture = np.full((height, width, 3), 90, np.uint8)
        if 0.99 < second < 2.21:
            picture[16:32, 20:36] = 255
        return picture

    path = film(tmp_path / "a.mp4", np.arange(100) / 25, draw=draw)
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.1, min_score=0.0)
    found = predict_video(path, predictor, square_detector, settings)
    shown = shown_people(open_source(path), predictor, square_detector, settings)
    assert all(
        len(people) == (1.0 < second < 2.2)
        for second, people in shown
        if abs(second - 1) > 0.1 < abs(second - 2.2)
    )
    (tube,) = found.tubes
    assert tube.start == pytest.approx(1.0, abs=0.021) and tube.end == pytest.approx(2.2, abs=0.021)
    assert [s.action for s in tube.actions] == [1, 2, 3]  # all count at this score
    assert all((s.start, s.end) == (tube.start, tube.end) for s in tube.actions)
    assert [len(k) for k in found.keyframes] == [0, 0, 1, 1, 1, 0, 0, 0]


def test_tubes_are_made_of_scores_smoothed_over_the_whole_track(predictor, square_detector, film, tmp_path):
    """The mean score of an action is that of raw scores, smoothed; at keyframes only neighbours count."""

    path = film(tmp_path / "a.mp4", np.arange(60) / 25, draw=changing_ground)
    raw = np.stack([k.scores[0] for k in predict_video(path, predictor, square_detector, PLAIN).keyframes])
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.25, smoothing=0.7, min_score=0.0)
    (tube,) = predict_video(path, predictor, square_detector, settings).tubes
    weights = 0.5 ** (np.abs(np.subtract.outer(np.arange(5), np.arange(5))) * 0.5 / 0.7)
    expected = (weights @ raw / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose([s.score for s in tube.actions], expected, rtol=1e-4)


@pytest.mark.parametrize(("keyframe_every", "detect_every"), [(0.25, 0.2), (0.5, 0.2), (0.4, 0.17)])
def test_tracks_of_generated_people_do_not_break(predictor, tiny_puppets, keyframe_every, detect_every):
    """Boxes of each of the 30 frames, looked up at times between them: everybody is one tube, but for last glimpses."""
    detector = build_person_detector(str(tiny_puppets / "tracks_val.json"))
    truth = json.loads((tiny_puppets / "tracks_val.json").read_text())
    settings = PipelineSettings(keyframe_every=keyframe_every, detect_every=detect_every)
    for video in truth["videos"]:
        path = tiny_puppets / "videos" / f"{video['video']}.mp4"
        found = predict_video(path, predictor, detector, settings)
        long = [tube for tube in found.tubes if tube.end - tube.start > 0.3]
        assert len(long) == len(video["people"])
        for tube in long:
            assert np.diff(tube.times).max() <= detect_every + 0.101


def shown_people(source, predictor, detector, settings) -> list[tuple[float, list]]:
    events = stream_actions(source, predictor, detector, settings, RunReport())
    return [(e.frame.second, e.people) for e in events if isinstance(e, Shown)]


def test_every_frame_is_shown_once_with_its_people(predictor, square_detector, film, tmp_path):
    path = film(tmp_path / "a.mp4", np.arange(60) / 25)
    shown = shown_people(open_source(path), predictor, square_detector, PLAIN)
    np.testing.assert_allclose([second for second, _ in shown], np.arange(60) / 25, atol=1e-3)
    for second, people in shown:
        (person,) = people
        assert person.box[0] * 64 == pytest.approx(4 + 8 * second, abs=1.1)
        assert person.scores is not None


def test_memory_does_not_depend_on_length(predictor, square_detector):
    """Frames alive at any moment, of a stream of 500: those of the clip, the bounds of the stages, no more."""

    class Endless:
        name, width, height, live, origin, sound, damaged, duration = (
            "endless",
            64,
            48,
            False,
            0.0,
            None,
            0,
            0.0,
        )
        rate = 25

        def frames(self):
            for index in range(500):
                picture = np.full((48, 64, 3), 90, np.uint8)
                picture[16:32, 20:36] = 255
                yield StreamFrame(index, index / 25, picture)

        def stop(self): ...

    most = {}
    for event in stream_actions(Endless(), predictor, square_detector, PLAIN, RunReport()):
        if isinstance(event, Shown) and event.frame.index % 20 == 0:
            alive = sum(isinstance(thing, StreamFrame) for thing in gc.get_objects())
            most[event.frame.index] = alive
    assert max(most.values()) < 110  # 0.6 s of clip, jobs of 0.5 s each, three bounds of 8
    early = max(alive for index, alive in most.items() if index < 200)
    late = max(alive for index, alive in most.items() if index >= 200)
    assert late <= early + 20


def test_boxes_known_only_at_the_beginning_do_not_hold_up_the_rest(predictor, film, tmp_path):
    """A file of boxes for second 0 alone: frames go on all the same, and do not pile up."""
    (tmp_path / "b.csv").write_text("a,0,0.1,0.1,0.5,0.9,,0.9\n")
    path = film(tmp_path / "a.mp4", np.arange(200) / 25)
    detector = build_person_detector(str(tmp_path / "b.csv"))
    stream = ActionStream(predictor, PLAIN, detector, StageTimes())
    piled = 0
    for event in stream.run(
        find_people(mark_due(open_source(path).frames(), PLAIN), detector, "a", StageTimes())
    ):
        piled = max(piled, len(stream._waiting))
        if isinstance(event, Shown) and event.frame.second < 0.4:
            assert len(event.people) == 1
    assert piled < 120  # the longest gap of 2.5 s, and the keyframes that the model has in hand


def run(path_or_source, predictor, detector, out: Path, settings=PLAIN, **options):
    source = path_or_source if not isinstance(path_or_source, (str, Path)) else open_source(path_or_source)
    outputs = Outputs(out / "v.mp4", out / "v.json", out / "v.csv", out / "v.coco.json", out / "v.png")
    report = annotate(source, predictor, detector, settings, outputs, show_progress=False, **options)
    found = VideoActions.from_json(outputs.json)
    assert found.num_frames == report.frames
    read_detections(outputs.csv)
    json.loads(outputs.coco.read_text())
    with av.open(str(outputs.video)) as container:
        frames = [(frame.time, frame.width, frame.height) for frame in container.decode(video=0)]
    assert len(frames) == report.frames
    assert {path.name for path in out.iterdir()} == {"v.mp4", "v.json", "v.csv", "v.coco.json", "v.png"}
    return report, found, frames


def test_one_frame(predictor, square_detector, film, tmp_path):
    report, found, _ = run(film(tmp_path / "a.mp4", [0.0]), predictor, square_detector, tmp_path / "out")
    assert report.frames == report.keyframes == report.people == 1
    (tube,) = found.tubes
    assert tube.start == tube.end == 0.0


def test_nobody(predictor, square_detector, film, tmp_path):
    path = film(tmp_path / "a.mp4", np.arange(40) / 25, draw=lambda s, h, w: np.full((h, w, 3), 90, np.uint8))
    report, found, _ = run(path, predictor, square_detector, tmp_path / "out")
    assert report.people == 0 and found.tubes == () and len(found.keyframes) == 4


def test_fifty_people(predictor, film, tmp_path):
    path = film(tmp_path / "a.mp4", np.arange(30) / 25)
    rows = [
        f"a,{second:g},{x:.3f},{y:.3f},{x + 0.09:.3f},{y + 0.18:.3f},,0.9"
        for second in (0, 0.25, 0.5, 0.75, 1)
        for x in np.arange(10) / 10
        for y in np.arange(5) / 5
    ]
    (tmp_path / "b.csv").write_text("\n".join(rows) + "\n")
    detector = build_person_detector(str(tmp_path / "b.csv"))
    report, found, _ = run(path, predictor, detector, tmp_path / "out")
    assert report.people == 50
    assert [len(k) for k in found.keyframes] == [50, 50, 50]
    for keyframe in found.keyframes:
        assert sorted(keyframe.track_ids.tolist()) == list(range(1, 51))


def test_portrait_and_variable_rate(predictor, square_detector, film, tmp_path):
    seconds = [0.0, 0.04, 0.1, 0.5, 0.52, 0.9, 1.4, 1.44, 2.3]
    path = film(tmp_path / "a.mp4", seconds, height=96, width=48)
    report, found, frames = run(path, predictor, square_detector, tmp_path / "out")
    np.testing.assert_allclose([time for time, _, _ in frames], seconds, atol=1e-3)
    assert frames[0][1:] == (480, 960)  # enlarged, of the same shape
    assert (found.header.width, found.header.height) == (48, 96)
    with open_video(path) as video:
        assert found.duration == pytest.approx(video.info.duration, abs=1e-3)


def test_truncated(predictor, square_detector, film, tmp_path):
    path = film(tmp_path / "a.mkv", np.arange(100) / 25, sound="aac")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    report, _, _ = run(path, predictor, square_detector, tmp_path / "out")
    assert 20 < report.frames < 100


class FakeCapture:
    def __init__(self, pictures: int) -> None:
        self.left = pictures

    def read(self):
        self.left -= 1
        picture = np.full((48, 64, 3), 90, np.uint8)
        picture[16:32, 20:36] = 255
        time.sleep(0.02)
        return (True, picture) if self.left >= 0 else (False, None)

    def get(self, property):
        return 30.0

    def release(self): ...


def test_camera_that_disappears(predictor, square_detector, tmp_path):
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.1, realtime=True)
    source = CameraSource(FakeCapture(60), "door", patience=0.2)
    report, found, _ = run(source, predictor, square_detector, tmp_path / "out", settings)
    assert 10 < report.frames <= 60
    assert found.header.video == "door"
    assert len(found.tubes) == 1


def test_camera_for_a_while(predictor, square_detector, tmp_path):
    source = CameraSource(FakeCapture(10**9), "door", patience=0.2)
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.1, realtime=True)
    report, _, _ = run(source, predictor, square_detector, tmp_path / "out", settings, max_seconds=0.8)
    assert 0.7 < report.duration < 3.0


def test_real_time_drops_work_not_latency(predictor, square_detector, film, tmp_path):
    """A person detector that takes 0.15 s for a search every 0.1 s: frames are dropped, and none shown is old."""

    class Slow:
        start_score, min_hits, spacing = 0.5, 1, 0.0

        def __call__(self, pictures):
            time.sleep(0.15)
            return square_detector(pictures)

    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.1, realtime=True)
    path = film(tmp_path / "a.mp4", np.arange(50) / 25)
    start = time.monotonic()
    late, shown = [], 0
    for event in stream_actions(open_source(path), predictor, Slow(), settings, RunReport()):
        if isinstance(event, Shown):
            shown += 1
            late.append(time.monotonic() - start - event.frame.second)
    wall = time.monotonic() - start
    assert shown < 45  # work was left out
    assert wall < 4.0  # 2 s of film; all 20 searches would take 3 s, and the frames in their order more
    assert np.median(late) < 1.0


def test_an_error_of_a_stage_ends_all(predictor, film, tmp_path):
    class Broken:
        start_score, min_hits, spacing = 0.5, 1, 0.0

        def __call__(self, pictures):
            raise RuntimeError("the detector fell over")

    before = threading.active_count()
    path = film(tmp_path / "a.mp4", np.arange(50) / 25)
    with pytest.raises(RuntimeError, match="fell over"):
        run(path, predictor, Broken(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert threading.active_count() == before


def test_somebody_who_left_just_before_the_end_is_shown(predictor, square_detector, film, tmp_path):
    """Gone for longer than ``max_gap`` when the stream ends, while frames with this person still wait."""

    def draw(second, height, width):
        return still(second, height, width) if second < 1.0 else np.full((height, width, 3), 90, np.uint8)

    path = film(tmp_path / "a.mp4", np.arange(40) / 25, draw=draw)
    settings = PipelineSettings(keyframe_every=2.0, detect_every=0.1, max_gap=0.3)
    shown = shown_people(open_source(path), predictor, square_detector, settings)
    assert [second for second, people in shown if not people][0] == pytest.approx(1.0, abs=0.11)


def test_rare_searches_make_tracks_too(predictor, square_detector, film, tmp_path):
    path = film(tmp_path / "a.mp4", np.arange(150) / 25, draw=still)
    settings = PipelineSettings(keyframe_every=2.0, detect_every=2.0, max_gap=1.0)
    found = predict_video(path, predictor, square_detector, settings)
    assert [len(k) for k in found.keyframes] == [1, 1, 1]
    assert len(found.tubes) == 1


def still(second, height, width):
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[16:32, 20:36] = 255
    return picture


def test_very_long_tubes_come_in_parts(predictor, square_detector, film, tmp_path, monkeypatch):
    monkeypatch.setattr("modist_det.inference.tubes._MAX_TUBE", 6)
    path = film(tmp_path / "a.mp4", np.arange(100) / 25)
    found = predict_video(path, predictor, square_detector, PLAIN)
    assert len(found.tubes) >= 2 and {tube.track_id for tube in found.tubes} == {1}
    times = np.concatenate([tube.times for tube in found.tubes])
    assert (np.diff(times) > 0).all() and len(times) == 16


def test_unreliable_boxes_are_not_believed(predictor, film, tmp_path):
    """Boxes at a random place in each picture: found once each, so nobody is reported."""

    class Flicker:
        start_score, min_hits, spacing = 0.5, 2, 0.0
        number = 0

        def __call__(self, pictures):
            self.number += 1
            x = (self.number * 0.37) % 0.8
            return [PersonBoxes(np.array([[x, 0.1, x + 0.05, 0.4]], np.float32), np.ones(1, np.float32))]

    path = film(tmp_path / "a.mp4", np.arange(50) / 25)
    settings = PipelineSettings(keyframe_every=0.5, detect_every=0.25, max_gap=0.3)
    found = predict_video(path, predictor, Flicker(), settings)
    assert found.tubes == () and sum(len(k) for k in found.keyframes) == 0


def test_sheet_frames_are_spread_evenly():
    for length in (1, 5, 12, 100, 1000):
        sheet = _SheetFrames(12)
        for number in range(length):
            if sheet.wants(number):
                sheet.offer(number, np.zeros((4, 4, 3), np.uint8), float(number))
        assert len(sheet._kept) <= 24
        seconds = [second for _, second in sheet._kept]
        assert seconds[0] == 0 and seconds[-1] >= length * 0.9 - 1
        assert len(seconds) >= min(length, 12)


def test_the_film_keeps_the_shape_that_a_player_shows(predictor, square_detector, tmp_path):
    """360 x 288 pixels that are shown 16:9, as of a DVD, and the same turned by 90 degrees."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 288, 360, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for _ in range(3):
            picture = np.full((288, 360, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    turned = bytearray(path.read_bytes())
    matrix = turned.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2
    for place, value in enumerate((0, 1, 0, -1, 0)):
        turned[matrix + 4 * place : matrix + 4 * place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    (tmp_path / "high.mp4").write_bytes(turned)
    for name, size, shape in (("wide", (854, 480), Fraction(16, 9)), ("high", (480, 854), Fraction(9, 16))):
        source = open_source(tmp_path / f"{name}.mp4")
        outputs = Outputs(video=tmp_path / f"{name}_out.mp4")
        annotate(source, predictor, square_detector, PipelineSettings(), outputs, show_progress=False)
        with av.open(str(tmp_path / f"{name}_out.mp4")) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
            assert Fraction(stream.width, stream.height) * stream.sample_aspect_ratio == shape


def test_a_film_that_cannot_be_written_does_not_take_the_rest(
    predictor, square_detector, film, tmp_path, monkeypatch
):
    path = film(tmp_path / "a.mp4", np.arange(20) / 25)
    outputs = Outputs(video=tmp_path / "out/a.mp4", json=tmp_path / "out/a.json")
    whole = VideoWriter.write

    def fails(writer, image, second):
        whole(writer, image[:, :, :1] if second > 0.3 else image, second)  # PyAV: not the shape of RGB

    monkeypatch.setattr(VideoWriter, "write", fails)
    with pytest.raises(UserError, match=r"cannot write video .*a\.mp4: .*the other files are complete"):
        annotate(
            open_source(path), predictor, square_detector, PipelineSettings(), outputs, show_progress=False
        )
    assert VideoActions.from_json(tmp_path / "out/a.json").num_frames == 20
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.json"]
