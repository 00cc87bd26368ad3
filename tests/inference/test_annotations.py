"""Detected people as tracks of annotation tools."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.formats.annotations import FORMATS, read_annotations, thinned, to_tubes
from modist_det.inference.annotations import tracks_of_result
from modist_det.inference.results import ActionSegment, Tube, VideoActions, VideoHeader
from modist_det.utils.errors import UserError


@pytest.fixture
def result() -> VideoActions:
    """Two seconds at 10 frames a second; person 3 is seen every 0.2 s from 0.4 to 1.6 s, in two parts, later first."""
    header = VideoHeader("clip", 200, 100, {1: "walk", 4: "wave"}, "m", "p")
    times = np.arange(2, 7) * 0.2
    boxes = np.array([[0.1 * t, 0.2, 0.1 * t + 0.3, 0.8] for t in times], np.float32)
    actions = (
        ActionSegment(1, 0.4, 0.8, 0.9),
        ActionSegment(1, 1.0, 1.2, 0.5),
        ActionSegment(4, 0.6, 1.0, 0.45),
    )
    later = Tube(3, np.array([1.4, 1.6]), boxes[-2:], (ActionSegment(1, 1.4, 1.6, 0.5),))
    return VideoActions(header, (), (later, Tube(3, times, boxes, actions)), 2.0, 20)


def test_tracks_of_result(result):
    annotations = tracks_of_result(result)
    assert annotations.videos == {"clip": (200, 100, 20, 10.0)}
    (track,) = annotations.tracks
    assert (track.number, track.label, track.frames.tolist()) == (3, "person", list(range(4, 17)))
    # 2 pixels a frame up to 1.2 s; at 1.4 s the person is where it was at 1.0 s.
    np.testing.assert_allclose(track.boxes[:, 0], [*range(8, 25, 2), 22, 20, 22, 24], atol=1e-4)
    assert track.drawn.tolist() == [frame % 2 == 0 for frame in range(4, 17)]
    found = {name: track.frames[here].tolist() for name, here in track.actions().items()}
    assert found == {"walk": [4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16], "wave": [6, 7, 8, 9, 10]}
    (sure,) = tracks_of_result(result, 0.9).tracks  # 0.9 is enough
    assert list(sure.actions()) == ["walk"] and len(sure.frames) == 13
    with pytest.raises(UserError, match="video clip has no frames"):
        tracks_of_result(VideoActions(result.header, (), result.tubes, 0.0, 0))


def test_a_time_at_the_end_of_the_video_is_its_last_frame(result):
    boxes = np.array([[0.1, 0.2, 0.4, 0.8]] * 2, np.float32)
    tube = Tube(1, np.array([1.8, 2.0]), boxes, (ActionSegment(4, 1.8, 2.0, 0.9),))
    (track,) = tracks_of_result(VideoActions(result.header, (), (tube,), 2.0, 20)).tracks
    assert track.frames.tolist() == [18, 19]
    assert track.frames[track.actions()["wave"]].tolist() == [18, 19]


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_hold_the_same_tubes(result, tmp_path, name):
    annotations = tracks_of_result(result)
    path = tmp_path / FORMATS[name].place.format(video="clip", suffix=FORMATS[name].suffix)
    FORMATS[name].write(path, annotations)
    after = read_annotations(path, sizes=annotations.videos.__getitem__)
    tubes = {}
    for kind, tracks in (("before", annotations), ("after", after)):
        content = to_tubes(type(annotations)(annotations.videos, tracks.tracks))["clip"]["tubes"]
        tubes[kind] = sorted((t["label"], t["start_frame"], t["end_frame"], t["track"]) for t in content)
    assert tubes["after"] == tubes["before"] and len(tubes["before"]) == 4


@pytest.mark.parametrize("tolerance", [0.0, 0.5, 5.0])
def test_thinned(result, tolerance):
    """Far fewer boxes to correct, none of them further off than asked for; actions stay."""
    (track,) = tracks_of_result(result).tracks
    rng = np.random.default_rng(0)
    track.boxes[:] += rng.uniform(-1, 1, track.boxes.shape)
    few = thinned(track, tolerance)
    assert np.abs(few.boxes - track.boxes).max() <= tolerance + 1e-9
    assert few.attributes == track.attributes
    drawn = np.flatnonzero(few.drawn)
    for column in range(4):  # what a tool shows between keyframes
        shown = np.interp(np.arange(13), drawn, few.boxes[drawn, column])
        np.testing.assert_allclose(shown, few.boxes[:, column], atol=1e-9)
    # Ends, and frames at which an action begins or ends: 6, 9, 10, 11, 13, 14.
    changes = {4, 6, 9, 10, 11, 13, 14, 16}
    assert changes <= set(track.frames[few.drawn].tolist())
    assert few.drawn.sum() == {0.0: 13, 0.5: few.drawn.sum(), 5.0: len(changes)}[tolerance]
