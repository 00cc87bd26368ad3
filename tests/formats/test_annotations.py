"""Annotation formats: files written from their specifications, malformed ones, and round trips."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modist_det.formats.annotations import (
    FORMATS,
    AnnotatedTrack,
    TrackAnnotations,
    from_tubes,
    read_annotations,
    recognize,
    to_tubes,
)
from modist_det.structures.tubes import VideoSize
from modist_det.utils.errors import UserError

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task>
    <id>7</id><name>my task</name><size>12</size><start_frame>0</start_frame><stop_frame>11</stop_frame>
    <original_size><width>96</width><height>64</height></original_size>
    <source>clip.mp4</source>
  </task></meta>
  <track id="0" label="person" source="manual">
    <box frame="2" outside="0" occluded="0" keyframe="1" xtl="10" ytl="10" xbr="30" ybr="50" z_order="0">
      <attribute name="action">walk</attribute><attribute name="phone">false</attribute></box>
    <box frame="6" outside="0" occluded="0" keyframe="1" xtl="18" ytl="10" xbr="42" ybr="50" z_order="0">
      <attribute name="action">none</attribute><attribute name="phone">true</attribute></box>
    <box frame="8" outside="1" occluded="0" keyframe="1" xtl="18" ytl="10" xbr="42" ybr="50" z_order="0">
      <attribute name="action">none</attribute><attribute name="phone">true</attribute></box>
    <box frame="10" outside="0" occluded="0" keyframe="1" xtl="50" ytl="10" xbr="70" ybr="50" z_order="0">
      <attribute name="action">walk</attribute><attribute name="phone">false</attribute></box>
  </track>
</annotations>
"""
COCO = {
    "videos": [{"id": 1, "name": "clip", "fps": 10, "length": 12}],
    "categories": [{"id": 3, "name": "walk"}],
    "images": [
        {"id": 10 + i, "file_name": f"clip/{f:04}.jpg", "width": 96, "height": 64, "video_id": 1}
        for i, f in enumerate((0, 5, 10))
    ],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 3, "track_id": 4, "bbox": [10, 10, 20, 40]},
        {"id": 2, "image_id": 11, "category_id": 3, "track_id": 4, "bbox": [20, 10, 20, 40]},
    ],
}


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / ("a.xml" if isinstance(content, str) else "a.json")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def tracks() -> TrackAnnotations:
    """Two people; the first has a gap, and attributes that change."""
    rng = np.random.default_rng(0)

    def track(number, frames, drawn, attributes):
        start = rng.uniform(0, 20, (len(frames), 2))
        boxes = np.hstack([start, start + rng.uniform(5, 40, (len(frames), 2))])
        for row in np.flatnonzero(~np.array(drawn)):
            boxes[row] = (boxes[row - 1] + boxes[row + 1]) / 2
        return AnnotatedTrack("clip", number, "person", np.array(frames), boxes, np.array(drawn), attributes)

    first = {"action": ("a", "a", "b", "b & <c>", ""), "phone": ("false", "true", "true", "true", "true")}
    second = {"action": ("a",) * 3, "phone": ("false",) * 3}
    several = [
        track(3, [1, 2, 3, 7, 8], [True, True, True, True, True], first),
        track(9, [9, 10, 11], [True, False, True], second),
    ]
    return TrackAnnotations({"clip": VideoSize(96, 64, 12, 12.5)}, several)


def test_cvat_interpolates_between_keyframes(file):
    annotations = read_annotations(file(CVAT))
    assert annotations.videos == {"clip": VideoSize(96, 64, 12)}
    (track,) = annotations.tracks
    # Outside at frames 8 and 9; the last box is held to the end, frame 11.
    assert track.frames.tolist() == [2, 3, 4, 5, 6, 7, 10, 11]
    assert track.drawn.tolist() == [True, False, False, False, True, False, True, False]
    np.testing.assert_allclose(track.boxes[:5, 0], [10, 12, 14, 16, 18])
    np.testing.assert_allclose(track.boxes[:5, 2], [30, 33, 36, 39, 42])
    np.testing.assert_allclose(track.boxes[-1], [50, 10, 70, 50])
    assert track.attributes["phone"] == ("false",) * 4 + ("true",) * 2 + ("false",) * 2
    found = {name: track.frames[here].tolist() for name, here in track.actions().items()}
    assert found == {"walk": [2, 3, 4, 5, 10, 11], "phone": [6, 7]}
    assert list(track.actions(["action"])) == ["walk"]


def test_tubes_have_no_gaps(file):
    read = read_annotations(file(CVAT))
    read = TrackAnnotations({"clip": read.videos["clip"]._replace(fps=12.5)}, read.tracks)
    content = to_tubes(read, ["action"])
    assert {k: v for k, v in content["clip"].items() if k != "tubes"} == {
        "width": 96,
        "height": 64,
        "num_frames": 12,
        "fps": 12.5,
    }
    spans = [
        (t["label"], t["start_frame"], t["end_frame"], len(t["boxes"])) for t in content["clip"]["tubes"]
    ]
    assert spans == [("walk", 2, 6, 4), ("walk", 10, 12, 2)]
    np.testing.assert_allclose(
        content["clip"]["tubes"][0]["boxes"][1], [12 / 96, 10 / 64, 33 / 96, 50 / 64], atol=1e-6
    )
    with pytest.raises(UserError, match="no track has an attribute 'actoin'; did you mean 'action'"):
        to_tubes(read, ["actoin"])


def test_cvat_project_has_several_videos(file):
    size = "<original_size><width>9</width><height>9</height></original_size>"
    task = f"<task><id>{{}}</id><source>{{}}.mp4</source><size>5</size>{size}</task>"
    box = '<box frame="0" outside="0" keyframe="1" xtl="1" ytl="1" xbr="3" ybr="3"/>'
    text = f"<annotations><meta><project><tasks>{task.format(1, 'a')}{task.format(2, 'b')}</tasks></project></meta>"
    read = read_annotations(file(f'{text}<track id="0" label="x" task_id="2">{box}</track></annotations>'))
    assert list(read.videos) == ["a", "b"] and [t.video for t in read.tracks] == ["b"]
    with pytest.raises(UserError, match="track 0: task_id is '3', but <meta> has tasks 1, 2"):
        read_annotations(file(f'{text}<track id="0" label="x" task_id="3">{box}</track></annotations>'))

    with pytest.raises(UserError, match="two tasks are of a video a"):
        read_annotations(file(text.replace("b.mp4", "a.mp4") + "</annotations>"))


def test_cvat_with_a_frame_step(file):
    """``size`` counts the annotated frames, ``stop_frame`` is a number of the video."""
    read = read_annotations(
        file(CVAT.replace("<size>12", "<size>4").replace("<stop_frame>11", "<stop_frame>15"))
    )
    assert read.videos["clip"].num_frames == 16 and read.tracks[0].frames[-1] == 15


def test_cvat_with_zeros_where_a_track_is_outside(file):
    before = 'frame="8" outside="1" occluded="0" keyframe="1" xtl="18" ytl="10" xbr="42" ybr="50"'
    assert before in CVAT
    zeros = 'frame="8" outside="1" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="0" ybr="0"'
    (track,) = read_annotations(file(CVAT.replace(before, zeros))).tracks
    assert track.boxes[track.frames == 7].tolist() == [[18, 10, 42, 50]]


def test_coco_attributes(file):
    """Notes of tools are no actions; a track may be outside."""
    content = json.loads(json.dumps(COCO))
    for entry, number in zip(content["annotations"], ("track_id", "instance_id"), strict=True):
        del entry["track_id"]
        entry["attributes"] = {number: 4, "occluded": False, "keyframe": True, "action": "run", "phone": True}
    content["annotations"][0]["attributes"]["rotation"] = 0.0
    content["annotations"][1]["attributes"] |= {"outside": True}
    del content["annotations"][1]["attributes"]["instance_id"]
    content["annotations"][1]["instance_id"] = 4
    (track,) = read_annotations(file(content)).tracks
    assert track.number == 4 and track.frames.tolist() == [0, 1, 2, 3, 4]
    assert track.attributes == {"action": ("run",) * 5, "phone": ("true",) * 5}


def test_coco_interpolates_between_annotated_images(file):
    (track,) = read_annotations(file(COCO)).tracks
    # The image of frame 10 does not show it.
    assert track.frames.tolist() == [0, 1, 2, 3, 4, 5] and (track.number, track.label) == (4, "walk")
    np.testing.assert_allclose(track.boxes[:, 0], [10, 12, 14, 16, 18, 20])
    np.testing.assert_allclose(track.boxes[:, 3], 50)
    assert track.drawn.tolist() == [True, False, False, False, False, True]


# What a format says of a video of 96 x 64 pixels with 12 frames at 12.5 a second, where it is not all of it.
SAID = {"cvat": VideoSize(96, 64, 12), "cvat-images": VideoSize(96, 64), "via2": VideoSize(0, 0)}


@pytest.mark.parametrize("name", FORMATS)
def test_round_trip(name, tmp_path):
    path, before = tmp_path / FORMATS[name].place.format(video="clip", suffix=FORMATS[name].suffix), tracks()
    FORMATS[name].write(path, before)
    assert recognize(path) == name
    after = read_annotations(path, sizes=before.videos.__getitem__)
    assert after.videos == {"clip": SAID.get(name, before.videos["clip"])}
    assert len(after.tracks) == len(before.tracks)
    for found, track in zip(after.tracks, before.tracks, strict=True):
        assert (found.video, found.number, found.label) == (track.video, track.number, track.label)
        assert found.frames.tolist() == track.frames.tolist()
        np.testing.assert_allclose(found.boxes, track.boxes, rtol=1e-12)
        if name in ("cvat", "coco-video", "label-studio"):  # the others are of single frames
            assert found.drawn.tolist() == track.drawn.tolist()
        if name == "mot":  # has classes instead of attributes
            there, here = found.actions(), track.actions()
            assert {action: there[action].tolist() for action in here} == {
                a: v.tolist() for a, v in here.items()
            }
        else:
            assert found.attributes == track.attributes


@pytest.mark.parametrize("name", FORMATS)
def test_round_trip_of_a_dataset(name, tmp_path):
    """A description's tubes, exported and imported, are the same tubes."""
    rng = np.random.default_rng(1)

    def tube(label, track, start, boxes):
        return {
            "label": label, "track": track, "start_frame": start, "end_frame": start + len(boxes), "boxes": boxes
        }  # fmt: skip

    corners = rng.uniform(0, 0.4, (9, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0.1, 0.5, (9, 2))]).round(6).tolist()
    tubes = [
        tube("walk", 1, 2, boxes[:5]),
        tube("wave", 1, 4, boxes[2:5]),  # at the same time
        tube("walk", 1, 8, boxes[5:7]),
        tube("wave", 4, 11, boxes[8:]),  # the last frame
    ]
    size = VideoSize(320, 240, 12, 29.97)
    content = {"clip": {**size._asdict(), "tubes": tubes}}
    path = tmp_path / FORMATS[name].place.format(video="clip", suffix=FORMATS[name].suffix)
    FORMATS[name].write(path, from_tubes(content))
    read = read_annotations(path, sizes=lambda _: size)
    found = to_tubes(TrackAnnotations({"clip": size}, read.tracks))
    key = lambda tube: (tube["track"], tube["label"], tube["start_frame"])  # noqa: E731
    assert sorted(found["clip"].pop("tubes"), key=key) == sorted(content["clip"].pop("tubes"), key=key)
    assert found == content


def test_tubes_of_one_track_with_different_boxes():
    tube = {"label": "a", "track": 1, "start_frame": 0, "end_frame": 1, "boxes": [[0, 0, 0.5, 1]]}
    content = {
        "clip": {**VideoSize(4, 4, 1, 25)._asdict(), "tubes": [tube, {**tube, "boxes": [[0, 0, 1, 1]]}]}
    }
    with pytest.raises(UserError, match="video clip: tubes of track 1 have different boxes at frame 0"):
        from_tubes(content)
    del content["clip"]["tubes"][1]["track"]  # somebody else
    assert [track.number for track in from_tubes(content).tracks] == [1, 2]
    del content["clip"]["fps"]
    with pytest.raises(UserError, match="video clip: it lacks 'fps'"):
        from_tubes(content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('xtl="18"', 'xtl="wide"', "track 0, frame 6: xtl of <box> is 'wide', but must be a number"),
        ('xbr="30" ybr="50"', 'xbr="30" ybr="5"', "track 0, frame 2: the box 10, 10, 30, 5 is empty"),
        ('frame="6"', 'frame="2"', "track 0: there are two boxes at frame 2"),
        ('frame="6"', 'frame="1.5"', "frame of <box> is 1.5, but must be a whole number"),
        (' label="person"', "", "track 0: <track> lacks label"),
        ("<size>12", "<size>long", "<size> is 'long'"),
        ("</annotations>", "", "is not XML, or is cut off"),
        ('encoding="utf-8"', 'encoding="etf-8"', "is not XML, or is cut off .unknown encoding: etf-8"),
        ('encoding="utf-8"', 'encoding="gbk"', "is not XML, or is cut off .multi-byte encodings"),
        ("<track id", '<image id="0"/><track id', "is CVAT for images"),
        ("original_size", "size_then", "has no task with an <original_size>"),
        ('<track id="0"', '<track id="1" label="x"><polygon/></track><track id="0"', "track 1 is a <polygon>"),
        ('z_order="0"', 'rotation="30"', "track 0, frame 2: the box is rotated"),
        ('z_order="0"', 'rotation="left"', "frame 2: rotation of <box> is 'left', but must be a number"),
        ('frame="10"', 'frame="1e300"', "track 0: frame 1000.* is beyond the 10,000,000"),
        ("<stop_frame>11", "<stop_frame>99999999999", "track 0: frame 100000000000 is beyond the 10,000,000"),
        ('frame="2"', 'frame="-2"', "track 0: frame -2 is negative"),
    ],
)  # fmt: skip
def test_malformed_cvat(file, old, new, message):
    assert old in CVAT
    with pytest.raises(UserError, match=message):
        read_annotations(file(CVAT.replace(old, new)))


def test_upright_boxes_may_have_a_rotation(file):
    (track,) = read_annotations(file(CVAT.replace('z_order="0"', 'rotation="0.0"'))).tracks
    assert len(track.frames) == 8


def test_entities_are_refused(file):
    levels = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    bomb = f'<!DOCTYPE annotations [<!ENTITY e0 "x">{levels}]><annotations>&e12;</annotations>'
    with pytest.raises(UserError, match=r"a\.xml: it has a DOCTYPE"):
        read_annotations(file(bomb))


@pytest.mark.parametrize(
    ("part", "row", "change", "message"),
    [
        ("annotations", 1, {"bbox": [1, 2, 3]}, r"annotations\[1\]: not enough values to unpack"),
        ("annotations", 1, {"image_id": 99}, r"annotations\[1\]: there is no image with id 99"),
        ("annotations", 0, {"category_id": 1}, r"annotations\[0\]: there is no category with id 1"),
        ("annotations", 0, {"bbox": [1, 1, 0, 3]}, "track 4 of video clip, frame 0: the box .* is empty"),
        ("images", 2, {"file_name": "clip/first.jpg"}, r"images\[2\]: it has no frame_id"),
        ("images", 2, {"frame_id": 5}, r"images\[2\]: video clip has two images of frame 5"),
        ("images", 1, {"width": 90}, r"images\[1\]: the size differs"),
        ("images", 1, {"id": [1]}, r"images\[1\]: unhashable type"),
        ("images", 0, {"frame_id": -1}, "track 4 of video clip: frame -1 is negative"),
    ],
)
def test_malformed_coco(file, part, row, change, message):
    content = json.loads(json.dumps(COCO))
    content[part][row] |= change
    with pytest.raises(UserError, match=message):
        read_annotations(file(content))
    del content["categories"]
    with pytest.raises(UserError, match="is no COCO-video file: it lacks 'categories'"):
        read_annotations(file(content))


def test_coco_without_tracks(file):
    content = json.loads(json.dumps(COCO))
    del content["annotations"][1]["track_id"]
    with pytest.raises(UserError, match=r"annotations\[1\] has no track_id"):
        read_annotations(file(content))


def test_impossible_tracks():
    sound = tracks()
    with pytest.raises(UserError, match="the frame rate of video clip is unknown"):
        to_tubes(TrackAnnotations({"clip": VideoSize(96, 64, 12)}, sound.tracks))
    with pytest.raises(UserError, match="track 9: frame 11 is after the video's end .it has 11 frames"):
        to_tubes(TrackAnnotations({"clip": VideoSize(96, 64, 11, 25)}, sound.tracks))
    with pytest.raises(UserError, match="track 3, frame 1: the box is outside the image of 2 x 2"):
        to_tubes(TrackAnnotations({"clip": VideoSize(2, 2, 12, 25)}, sound.tracks))


def test_boxes_beyond_the_image_and_tracks_without_action(caplog):
    boxes = np.array([[-2.0, 10, 30, 50], [-0.3, 10, 30, 50]])
    shown = np.ones(2, bool)

    def tubes(action: str) -> dict:
        track = AnnotatedTrack("clip", 1, "person", np.arange(2), boxes, shown, {"action": (action,) * 2})
        return to_tubes(TrackAnnotations({"clip": VideoSize(96, 64, 12, 25)}, [track]))

    (tube,) = tubes("walk")["clip"]["tubes"]
    assert tube["boxes"] == [[0, 0.15625, 0.3125, 0.78125]] * 2
    assert "1 boxes reach beyond the image" in caplog.text
    with pytest.raises(UserError, match="the annotations have no action"):
        tubes("none")


def test_unknown_formats(file):
    with pytest.raises(UserError, match="the format is not recognized"):
        read_annotations(file({"boxes": []}))
    with pytest.raises(UserError, match="unknown format 'cvatt'; did you mean 'cvat'"):
        read_annotations(file(CVAT), "cvatt")


@pytest.mark.parametrize(
    "text",
    [
        '{"categories": [], "images": null, "annotations": []}',
        '{"categories": [], "images": [], "annotations": null}',
        '{"categories": [], "images": [{"file_name": "v/1.jpg", "width": 2, "height": 2}], "annotations": []}',
    ],
)
def test_coco_entries_that_are_missing(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="a.json"):
        read_annotations(tmp_path / "a.json", "coco-video")
