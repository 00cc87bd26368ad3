"""CVAT for images, VIA 2 and 3, Label Studio and MOT: files written from their specifications, and malformed ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modist_det.formats.annotations import FORMATS, read_annotations, recognize
from modist_det.structures.tubes import VideoSize
from modist_det.utils.errors import UserError

SIZE = VideoSize(200, 100, 12, 10.0)

CVAT_IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>3</id><name>t</name><size>3</size><mode>annotation</mode><source>{source}</source>
    <original_size><width>200</width><height>100</height></original_size></task></meta>
  <image id="0" name="{folder}frame_000000" width="200" height="100">
    <box label="person" source="manual" occluded="0" xtl="10.00" ytl="10.00" xbr="30.00" ybr="50.00" group_id="4">
      <attribute name="action">walk</attribute></box>
  </image>
  <image id="1" name="{folder}frame_000004" width="200" height="100">
    <box label="person" source="manual" occluded="0" xtl="18.00" ytl="10.00" xbr="38.00" ybr="50.00" group_id="4">
      <attribute name="action">run</attribute></box>
    <box label="person" source="manual" occluded="1" xtl="90.00" ytl="10.00" xbr="99.00" ybr="50.00" z_order="0">
      <attribute name="track_id">7</attribute><attribute name="action">sit</attribute></box>
    <tag label="blurred" source="manual"></tag>
  </image>
  <image id="2" name="{folder}frame_000008" width="200" height="100"></image>
</annotations>
"""
VIA2 = {
    "_via_settings": {"project": {"name": "p"}},
    "_via_img_metadata": {
        f"clip_{frame:04}.jpg{size}": {
            "filename": f"clip_{frame:04}.jpg",
            "size": size,
            "regions": regions,
            "file_attributes": {},
        }
        for frame, size, regions in (
            (0, 10, [([10, 10, 20, 40], {"track": "4", "action": "walk"})]),
            (4, 11, [([18, 10, 20, 40], {"track": "4", "action": "run"})]),
            (8, 12, []),
        )
        for regions in [
            [
                {
                    "shape_attributes": {"name": "rect"}
                    | dict(zip(("x", "y", "width", "height"), box, strict=True)),
                    "region_attributes": values | {"carries": {"bag": True, "phone": False}},
                }
                for box, values in regions
            ]
        ]
    },
    "_via_attributes": {"region": {}, "file": {}},
}
VIA3 = {
    "project": {"pid": "__VIA_PROJECT_ID__", "pname": "p", "vid_list": ["1"]},
    "config": {},
    "attribute": {
        "1": {"aname": "action", "anchor_id": "FILE1_Z1_XY1", "type": 4, "options": {"0": "walk", "1": "run"}},
        "2": {"aname": "carries", "anchor_id": "FILE1_Z1_XY1", "type": 2, "options": {"0": "bag", "1": "phone"}},
        "3": {"aname": "track_id", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
    },
    "file": {"1": {"fid": "1", "fname": "clip.mp4", "type": 4, "loc": 1, "src": ""}},
    "view": {"1": {"fid_list": ["1"]}},
    "metadata": {
        "1_a": {"vid": "1", "flg": 0, "z": [0], "xy": [2, 10, 10, 20, 40], "av": {"1": "0", "2": "0", "3": "4"}},
        "1_b": {"vid": "1", "flg": 0, "z": [0.4], "xy": [2, 18, 10, 20, 40], "av": {"1": "1", "2": "0", "3": "4"}},
        "1_c": {"vid": "1", "flg": 0, "z": [0.8], "xy": [2, 90, 10, 9, 40], "av": {"1": "1", "2": "", "3": "7"}},
        "1_d": {"vid": "1", "flg": 0, "z": [0.1, 0.5], "xy": [], "av": {"1": "1"}},
    },
}  # fmt: skip
LABEL_STUDIO = [
    {
        "id": 12,
        "annotations": [
            {"was_cancelled": True, "result": []},
            {
                "was_cancelled": False,
                "result": [
                    {
                        "value": {
                            "framesCount": 12,
                            "duration": 1.2,
                            "sequence": [
                                {"frame": 1, "enabled": True, "rotation": 0, "time": 0.1}
                                | {"x": 5, "y": 10, "width": 10, "height": 40},
                                {"frame": 5, "enabled": False, "rotation": 0, "time": 0.5}
                                | {"x": 9, "y": 10, "width": 10, "height": 40},
                                {"frame": 11, "enabled": True, "rotation": 0, "time": 1.1}
                                | {"x": 9, "y": 10, "width": 10, "height": 40},
                            ],
                            "labels": ["person", "tall"],
                        },
                        "id": "xGdZ",
                        "from_name": "box",
                        "to_name": "video",
                        "type": "videorectangle",
                        "origin": "manual",
                    },
                    {
                        "value": {"choices": ["walk"]},
                        "id": "xGdZ",
                        "from_name": "action",
                        "to_name": "video",
                        "type": "choices",
                    },
                    {
                        "value": {"choices": ["dark"]},
                        "id": "else",
                        "from_name": "light",
                        "to_name": "video",
                        "type": "choices",
                    },
                ],
            },
        ],
        "data": {"video": "/data/upload/1/0a1b2c3d-clip.mp4"},
    }
]
MOT = "1,4,10,10,20,40,1,1,1\n2,4,12,10,20,40,1,2,0.5\n3,4,1,1,2,2,0,2,1\n12,4,50,10,20,40,1,1,1\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        kind = "json" if not isinstance(content, str) else "xml" if content.startswith("<") else "txt"
        path = tmp_path / f"clip.{kind}"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def read(path, name: str):
    assert recognize(path) == name
    return read_annotations(path, sizes=lambda video: SIZE)


@pytest.mark.parametrize(
    ("folder", "source", "video"), [("", "videos/walk.mp4", "walk"), ("clip/", "x.zip", "clip")]
)
def test_cvat_images(file, folder, source, video):
    found = read(file(CVAT_IMAGES.format(folder=folder, source=source)), "cvat-images")
    assert found.videos == {video: VideoSize(200, 100)}
    first, second = found.tracks
    # The image of frame 8 shows nobody.
    assert (first.number, first.label, first.frames.tolist()) == (4, "person", [0, 1, 2, 3, 4])
    np.testing.assert_allclose(first.boxes[:, 0], [10, 12, 14, 16, 18])
    assert first.attributes == {"action": ("walk",) * 4 + ("run",)}
    assert (second.number, second.frames.tolist(), second.attributes) == (7, [4], {"action": ("sit",)})


@pytest.mark.parametrize("whole", [True, False])
def test_via2(file, whole):
    """A project, or the annotations alone."""
    found = read(file(VIA2 if whole else VIA2["_via_img_metadata"]), "via2")
    assert found.videos == {"clip": VideoSize(0, 0)}
    (track,) = found.tracks
    assert (track.number, track.label, track.frames.tolist()) == (4, "person", [0, 1, 2, 3, 4])
    np.testing.assert_allclose(track.boxes[:, 2], [30, 32, 34, 36, 38])
    assert list(track.actions()) == ["walk", "run", "bag"]


def test_via3(file, caplog):
    found = read(file(VIA3), "via3")
    assert found.videos == {"clip": SIZE} and "1 temporal segments have no box" in caplog.text
    first, second = found.tracks
    assert (first.number, first.frames.tolist()) == (4, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(first.boxes[:, 0], [10, 12, 14, 16, 18])
    assert {name: here.tolist() for name, here in first.actions().items()} == {
        "walk": [True] * 4 + [False],
        "run": [False] * 4 + [True],
        "bag": [True] * 5,
    }
    assert (second.number, second.frames.tolist(), list(second.actions())) == (7, [8], ["run"])
    with pytest.raises(UserError, match="the size and frame rate of video clip are needed"):
        read_annotations(file(VIA3))


def test_label_studio(file):
    found = read(file(LABEL_STUDIO), "label-studio")
    assert found.videos == {"clip": SIZE}
    (track,) = found.tracks
    # Disabled after frame 5 of the file; the last keyframe is held to the end.
    assert track.frames.tolist() == [0, 1, 2, 3, 4, 10, 11] and track.label == "person"
    np.testing.assert_allclose(track.boxes[0], [10, 10, 30, 50])
    np.testing.assert_allclose(track.boxes[:5, 0], [10, 12, 14, 16, 18])
    assert track.drawn.tolist() == [True, False, False, False, True, True, False]
    assert list(track.actions()) == ["tall", "walk"]


def test_label_studio_labels_of_another_tag(file):
    """With ``<Labels>`` beside ``<VideoRectangle>``, and a video in a mounted folder."""
    content = json.loads(json.dumps(LABEL_STUDIO))
    result = content[0]["annotations"][1]["result"]
    del result[0]["value"]["labels"]
    result.append({"value": {"labels": ["walker"]}, "id": "xGdZ", "from_name": "l", "type": "labels"})
    content[0]["data"] = {"clip": "/data/local-files/?d=my%20videos/clip.mp4", "note": "x"}
    found = read(file(content), "label-studio")
    assert list(found.videos) == ["clip"] and found.tracks[0].label == "walker"


def test_label_studio_keeps_people_apart(file):
    """A region drawn beside those that were written here is a track of its own; parts of one may not overlap."""
    content = json.loads(json.dumps(LABEL_STUDIO))
    result = content[0]["annotations"][1]["result"]
    drawn = result[0]
    result[:] = [{**drawn, "id": "track1.0"}, drawn]
    assert sorted(track.number for track in read(file(content), "label-studio").tracks) == [1, 2]
    result[1] = {**drawn, "id": "track1.1"}
    with pytest.raises(UserError, match=r"two regions track1 of video clip are both there at frame 1"):
        read(file(content), "label-studio")


@pytest.mark.parametrize("named", [True, False])
def test_mot(file, tmp_path, named):
    path = file(MOT)
    if named:
        (tmp_path / "labels.txt").write_text("person\nwalk + wave\n")
        (tmp_path / "seqinfo.ini").write_text(
            "[Sequence]\nname=seq\nframeRate=10\nseqLength=12\nimWidth=200\nimHeight=100\nimExt=.jpg\n"
        )
    found = read(path, "mot")
    assert found.videos == ({"seq": SIZE} if named else {"clip": VideoSize(0, 0)})
    (track,) = found.tracks
    # The row of frame 3 has a confidence of 0.
    assert (track.number, track.frames.tolist()) == (4, [0, 1, 11])
    assert track.boxes[1].tolist() == [12, 10, 32, 50]
    actions = {name: here.tolist() for name, here in track.actions().items()}
    there = [False, True, False]
    assert actions == ({"walk": there, "wave": there} if named else {"person": [True] * 3})


def test_mot_in_its_folders(tmp_path):
    path = tmp_path / "MOT16-02" / "gt" / "gt.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1,-1,1.5,1,3,3,-1,-1,-1,-1\n")
    assert list(read_annotations(path).videos) == ["MOT16-02"]


def changed(content, keys, value):
    """A copy with the entry at ``keys`` replaced; a value of None deletes it."""
    copy = json.loads(json.dumps(content))
    place = copy
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('xtl="18.00"', 'xtl="x"', r"image 1, a box of person, frame 4: xtl of <box> is 'x'"),
        (' group_id="4"', "", "image 0, a box of person does not say which person it is; give each box"),
        (">7<", ">first<", "image 1, a box of person: track_id is 'first', but must be a whole number"),
        ('name="frame_000004"', 'name="frame_000000"', "image 1: video clip has two images of frame 0"),
        ('name="frame_000004"', 'name="frame"', "image 1: it has no frame_id, and file_name 'frame' has no number"),
        ('name="frame_000004" width="200"', 'name="frame_000004" width="20"', "image 1: the size differs"),
        ("<tag", "<polygon", "mismatched tag"),
        ('<tag label="blurred" source="manual"></tag>', "<polygon/>", "image 1 has a <polygon>; only boxes"),
        ('label="person"', "", "image 0: <box> lacks label"),
        ("<image id", '<track id="0"/><image id', "has tracks; export the task as CVAT for video"),
    ],
)  # fmt: skip
def test_malformed_cvat_images(file, old, new, message):
    text = CVAT_IMAGES.format(folder="", source="clip.mp4")
    assert old in text
    with pytest.raises(UserError, match=message):
        read_annotations(file(text.replace(old, new)), "cvat-images")


BOX = ("_via_img_metadata", "clip_0004.jpg11", "regions", 0)
REGION = (0, "annotations", 1, "result", 0)


@pytest.mark.parametrize(
    ("name", "keys", "value", "message"),
    [
        ("via2", (*BOX, "shape_attributes", "name"), "polygon", r"'clip_0004.jpg11', regions\[0\] is a polygon"),
        ("via2", (*BOX, "shape_attributes", "x"), "wide", r"regions\[0\]: could not convert string"),
        ("via2", (*BOX, "shape_attributes", "width"), 0, "track 4 of video clip, frame 4: the box .* is empty"),
        ("via2", (*BOX, "region_attributes", "track"), None, r"regions\[0\] does not say which person"),
        ("via2", (*BOX[:2], "filename"), "clip_.jpg", "file_name 'clip_.jpg' has no number"),
        ("via2", (*BOX[:2], "filename"), "a_0.jpg", "video clip has two images of frame 0"),
        ("via2", (*BOX[:2], "regions"), None, "'clip_0004.jpg11': it lacks 'regions'"),
        ("via3", ("view",), None, "is no VIA 3 project: it lacks 'view'"),
        ("via3", ("metadata", "1_b", "xy"), [3, 1, 1, 5], "metadata '1_b' is no rectangle at one time"),
        ("via3", ("metadata", "1_b", "z"), [0.1, 0.2], "metadata '1_b' is no rectangle at one time"),
        ("via3", ("metadata", "1_b", "z"), [-1], "track 4 of video clip: frame -10 is negative"),
        ("via3", ("metadata", "1_b", "vid"), "2", "metadata '1_b' is of view '2'"),
        ("via3", ("metadata", "1_b", "av", "3"), None, "metadata '1_b' does not say which person"),
        ("via3", ("metadata", "1_b", "av", "9"), "0", "metadata '1_b': it lacks '9'"),
        ("label-studio", (*REGION, "value", "sequence", 1, "x"), None, "task 12, region xGdZ: it lacks 'x'"),
        ("label-studio", (*REGION, "value", "sequence", 1, "rotation"), 9, "region xGdZ, frame 5: the box is rotated"),
        ("label-studio", (*REGION, "value", "sequence", 1, "frame"), 1, "region xGdZ: there are two boxes at frame 0"),
        ("label-studio", (*REGION, "value", "sequence", 1, "width"), 0, "region xGdZ, frame 4: the box .* is empty"),
        ("label-studio", (0, "annotations", 0, "was_cancelled"), False, "task 12 has 2 annotations; keep one"),
        ("label-studio", (0, "data"), {"text": "x"}, "task 12: data must name one video"),
        ("label-studio", (0, "data"), None, "task 12: it lacks 'data'"),
    ],
)  # fmt: skip
def test_malformed_json(file, name, keys, value, message):
    content = {"via2": VIA2, "via3": VIA3, "label-studio": LABEL_STUDIO}[name]
    with pytest.raises(UserError, match=message):
        read_annotations(file(changed(content, keys, value)), name, lambda video: SIZE)


def test_label_studio_has_each_video_once(file):
    with pytest.raises(UserError, match="task 12: another task is of video clip, too"):
        read(file(LABEL_STUDIO * 2), "label-studio")


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("1,4,10,10,20\n", "", "clip.txt:1 has 5 columns; a row is frame,id,x,y,width,height"),
        ("1,4,10,10,20,40\n\n2,4,ten,10,20,40\n", "", "clip.txt:3: could not convert string"),
        ("1.5,4,10,10,20,40\n", "", "clip.txt:1: frame, id or class is 1.5"),
        ("1,4,10,10,0,40\n", "", "track 4, frame 0: the box .* is empty"),
        ("0,4,10,10,20,40\n", "", "track 4: frame -1 is negative"),
        ("1,4,10,10,20,40\n1,4,10,10,20,40\n", "", "track 4: there are two boxes at frame 0"),
        ("1,4,10,10,20,40,1,3,1\n", "person\n", "clip.txt:1: class 3 is not among the 1 of .*labels.txt"),
        ("1,nan,10,10,20,40\n", "", "clip.txt:1: frame, id or class is nan"),
    ],
)
def test_malformed_mot(file, tmp_path, text, labels, message):
    if labels:
        (tmp_path / "labels.txt").write_text(labels)
    with pytest.raises(UserError, match=message):
        read_annotations(file(text), "mot")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name=a\n", "no section headers"),
        ("[Sequence]\nimWidth=wide\n", "seqinfo.ini: invalid literal"),
        ("[Other]\n", "it lacks 'Sequence'"),
        ("[Sequence]\nframeRate=nan\n", "a size or the frame rate is negative or not finite"),
    ],
)
def test_malformed_sequence(file, tmp_path, text, message):
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(UserError, match=message):
        read_annotations(file(MOT), "mot")


@pytest.mark.parametrize("name", [n for n, entry in FORMATS.items() if entry.suffix == ".json"])
@pytest.mark.parametrize("text", ["[]", "{}", "3", '[{"data": 3}]', '{"a": 3}'])
def test_other_json(tmp_path, name, text):
    """Nothing, or one clear line."""
    (tmp_path / "a.json").write_text(text)
    try:
        found = read_annotations(tmp_path / "a.json", name, lambda video: SIZE)
    except UserError as error:
        assert str(tmp_path / "a.json") in str(error)
    else:
        assert not found.tracks
