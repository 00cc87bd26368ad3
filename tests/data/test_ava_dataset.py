"""AVA-style files in, keyframes with persons out."""

from __future__ import annotations

import csv
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from modist_det.data.datasets import AVADataset, keyframe_id, load_description
from modist_det.data.datasets.videos import find_videos
from modist_det.utils.errors import UserError

LABELS = 'item { name: "stand" id: 1 }\nitem { name: "walk" id: 3 }\n'  # id 2 is a gap

GROUND_TRUTH = """\
b,0902,0.1,0.2,0.5,0.8,1,0
b,0902,0.1,0.2,0.5,0.8,3,0
b,0902,0.6,0.2,0.9,0.8,1,1
a,0903,0.1,0.1,0.4,0.9,3,0
a,0904
b,0905,0.2,0.2,0.4,0.6,2,0
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A dataset; videos are empty files, since readers open none."""
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.webm"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "labels.pbtxt").write_text(LABELS)
    (tmp_path / "gt.csv").write_text(GROUND_TRUTH)
    return tmp_path


def dataset(folder: Path, **settings) -> AVADataset:
    defaults = {"annotations": folder / "gt.csv", "first_second": 900}
    return AVADataset("mine", folder / "videos", folder / "labels.pbtxt", **(defaults | settings))


def summary(records) -> list[tuple]:
    """(id, [(box, actions), ...]) of each keyframe, with boxes as short text."""
    return [
        (
            record.id,
            [
                (" ".join(f"{x:g}" for x in box), actions)
                for box, actions in zip(record.boxes, record.actions, strict=True)
            ],
        )
        for record in records
    ]


# ---- ground truth -----------------------------------------------------------------------------


def test_rows_with_the_same_box_are_one_person(folder) -> None:
    assert summary(dataset(folder).records()) == [
        ("b,0902", [("0.1 0.2 0.5 0.8", (1, 3)), ("0.6 0.2 0.9 0.8", (1,))]),
        ("b,0905", [("0.2 0.2 0.4 0.6", (2,))]),
        ("a,0903", [("0.1 0.1 0.4 0.9", (3,))]),
    ]


def test_a_record(folder) -> None:
    records = dataset(folder, fps=25).records()
    record = records[0]
    assert (record.video_id, record.second, record.time, record.fps) == ("b", 902.0, 2.0, 25.0)
    assert record.video == str(folder / "videos" / "b.webm")
    assert record.boxes.dtype == np.float32 and record.boxes.shape == (2, 4)
    assert record.scores.dtype == np.float32 and record.scores.tolist() == [1, 1]
    assert record.actions == ((1, 3), (1,)) and isinstance(record.actions[0][0], int)


def test_records_are_a_sequence(folder) -> None:
    records = dataset(folder).records()
    assert len(records) == 3 and [r.id for r in records] == [records[i].id for i in range(3)]
    assert records[-1].id == "a,0903" and [r.id for r in records[1:]] == ["b,0905", "a,0903"]
    assert "3 keyframes of 2 videos with 4 persons" in repr(records)
    with pytest.raises(IndexError):
        records[3]
    copy = pickle.loads(pickle.dumps(records))
    assert summary(copy) == summary(records)


def test_seconds_need_not_be_whole_or_begin_at_900(folder) -> None:
    (folder / "gt.csv").write_text("a,0.5,0,0,1,1,1\na,1.25,0,0,1,1,1\na,12,0,0,1,1,1\n")
    records = dataset(folder, first_second=0).records()
    assert [(r.id, r.time) for r in records] == [("a,0.5", 0.5), ("a,1.25", 1.25), ("a,0012", 12.0)]


@pytest.mark.parametrize(("second", "text"), [(2, "v,0002"), (1798.0, "v,1798"), (2.5, "v,2.5")])
def test_keyframe_id(second, text) -> None:
    assert keyframe_id("v", second) == text


def test_metadata(folder) -> None:
    metadata = dataset(folder, exclusions=folder / "ex.csv", keyframe_spacing=0.5).metadata
    assert metadata.class_names == {1: "stand", 3: "walk"} and metadata.num_classes == 3
    assert (metadata.first_second, metadata.keyframe_spacing, metadata.fps) == (900.0, 0.5, 30.0)
    assert metadata.groundtruth == str(folder / "gt.csv") and metadata.exclusions == str(folder / "ex.csv")
    assert dataset(folder, num_classes=80).metadata.num_classes == 80


def test_exclusions(folder) -> None:
    (folder / "ex.csv").write_text("b,902\nunknown,0903\n")
    assert [r.id for r in dataset(folder, exclusions=folder / "ex.csv").records()] == ["b,0905", "a,0903"]


def test_boxes_without_area_are_left_out(folder, caplog) -> None:
    (folder / "gt.csv").write_text("a,902,0.1,0.1,0.1,0.5,1\na,903,0.1,0.1,0.2,0.5,1\n")
    assert [r.id for r in dataset(folder).records()] == ["a,0903"]
    assert "1 boxes without area" in caplog.text


def test_only_keyframes_without_persons(folder) -> None:
    (folder / "gt.csv").write_text("a,0902\na,0903\n")
    assert len(dataset(folder).records()) == 0


def test_windows_files_and_names_with_spaces(folder) -> None:
    (folder / "videos" / "my film, part 1.mp4").touch()
    text = '\ufeff"my film, part 1",0902,0.1,0.2,0.5,0.8,1\r\n'
    (folder / "gt.csv").write_bytes(text.encode("utf-8"))
    (record,) = dataset(folder).records()
    assert record.video == str(folder / "videos" / "my film, part 1.mp4")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,0902,0.1,0.2,0.5,0.8", r"gt.csv:7: 6 columns"),
        ("a,0902,0.5,0.2,0.1,0.8,1", r"gt.csv:7: .*inverted"),
        ("a,0902,nan,0.2,0.5,0.8,1", r"gt.csv:7: x1 is 'nan'"),
        ("a,0902,10,20,50,80,1", r"gt.csv:7: .*outside the image"),
        ("a,0902,0.1,0.2,0.5,0.8,4", r"gt.csv:7: class id 4 is above 3"),
    ],
)
def test_bad_rows_are_named(folder, row, message) -> None:
    (folder / "gt.csv").write_text(GROUND_TRUTH + row + "\n")
    with pytest.raises(UserError, match=message):
        dataset(folder).records()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fps": 0}, "fps is 0, but must be a number above 0"),
        ({"fps": "fast"}, "fps is 'fast'"),
        ({"first_second": True}, "first_second is True"),
        ({"first_second": float("nan")}, "first_second is nan"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"annotations": ["a.csv", "b.csv"]}, "annotations is .* takes one path"),
        ({"annotations": None}, "neither 'annotations' nor 'person_boxes'"),
    ],
)
def test_bad_arguments(folder, settings, message) -> None:
    with pytest.raises(UserError, match=message):
        dataset(folder, **settings)


def test_too_few_classes_declared(folder) -> None:
    with pytest.raises(UserError, match="num_classes is 2, but .* has class id 3"):
        _ = dataset(folder, num_classes=2).metadata


def test_real_ground_truth(real_data, tmp_path) -> None:
    path = real_data / "ava" / "ava_val_v2.1_pose14.csv"
    with path.open(newline="") as file:
        rows = [(row[0], float(row[1]), tuple(map(float, row[2:6])), int(row[6])) for row in csv.reader(file)]
    for video in {row[0] for row in rows}:
        (tmp_path / video).mkdir()
    ava = AVADataset(
        "ava",
        tmp_path,
        real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt",
        annotations=path,
        first_second=900,
        num_classes=80,
    )
    records = ava.records()
    assert len(records) == len({row[:2] for row in rows}) == 50029
    assert len(records.boxes) == len({row[:3] for row in rows})
    assert len(records.actions) == len({(*row[:3], row[3]) for row in rows})
    wanted = [row for row in rows if row[:2] == (rows[5000][0], rows[5000][1])]
    (record,) = [r for r in records if (r.video_id, r.second) == wanted[0][:2]]
    assert {
        (tuple(b), a) for b, acts in zip(record.boxes.tolist(), record.actions, strict=True) for a in acts
    } == {(tuple(np.float32(row[2]).tolist()), row[3]) for row in wanted}
    assert record.time == wanted[0][1] - 900


# ---- detected persons -------------------------------------------------------------------------

# On the first person of b,0902 (IoU 0.95), far from everybody, on the second but with a low score;
# one in a keyframe that has no annotation, one in a video that has none.
DETECTED = """\
b,0902,0.1,0.2,0.48,0.8,,0.99
b,0902,0.0,0.0,0.2,0.3,,0.95
b,0902,0.6,0.2,0.9,0.8,,0.5
a,0907,0.3,0.3,0.6,0.6,,0.92
other,0902,0.3,0.3,0.6,0.6,,0.92
"""


@pytest.fixture
def with_detections(folder) -> AVADataset:
    (folder / "boxes.csv").write_text(DETECTED)
    return dataset(folder, person_boxes=folder / "boxes.csv")


def test_detected_persons_take_labels_of_those_they_overlap(with_detections) -> None:
    records = with_detections.records("detected")
    assert summary(records) == [
        ("b,0902", [("0 0 0.2 0.3", ()), ("0.1 0.2 0.48 0.8", (1, 3))]),
        ("a,0907", [("0.3 0.3 0.6 0.6", ())]),
    ]
    np.testing.assert_allclose(records[0].scores, [0.95, 0.99])


def test_score_threshold(with_detections) -> None:
    assert [len(r.boxes) for r in with_detections.records("detected", min_score=0.5)] == [3, 1]
    assert [len(r.boxes) for r in with_detections.records("detected", min_score=0.96)] == [1]


def test_both(with_detections) -> None:
    assert summary(with_detections.records("both")) == [
        ("b,0902", [("0.1 0.2 0.5 0.8", (1, 3)), ("0.6 0.2 0.9 0.8", (1,)), ("0.1 0.2 0.48 0.8", (1, 3))]),
        ("b,0905", [("0.2 0.2 0.4 0.6", (2,))]),
        ("a,0903", [("0.1 0.1 0.4 0.9", (3,))]),
    ]


def test_the_required_overlap_is_an_argument(folder, with_detections) -> None:
    strict = dataset(folder, person_boxes=folder / "boxes.csv", match_iou=0.97)
    assert strict.records("detected")[0].actions == ((), ())


def test_labels_in_the_file_of_detections_count(folder) -> None:
    # As PySlowFast's training boxes: -1 is a negative, kept with the others.
    (folder / "boxes.csv").write_text(
        "b,0902,0.1,0.2,0.48,0.8,3,0.99\nb,0902,0.1,0.2,0.48,0.8,1,0.99\nb,0902,0,0,0.2,0.3,-1,0.95\n"
    )
    records = dataset(folder, person_boxes=folder / "boxes.csv").records("both")
    assert summary(records)[0] == (
        "b,0902",
        [
            ("0.1 0.2 0.5 0.8", (1, 3)),
            ("0.6 0.2 0.9 0.8", (1,)),
            ("0 0 0.2 0.3", ()),
            ("0.1 0.2 0.48 0.8", (1, 3)),
        ],
    )


def test_detections_without_annotations(folder, with_detections) -> None:
    (folder / "videos" / "other.mp4").touch()
    alone = dataset(folder, annotations=None, person_boxes=folder / "boxes.csv")
    assert [r.id for r in alone.records("detected")] == ["b,0902", "a,0907", "other,0902"]
    with pytest.raises(UserError, match="mine has no 'annotations'"):
        alone.records("ground_truth")


def test_a_filter_that_leaves_nobody_says_so(folder, with_detections, caplog) -> None:
    """Never an evaluation of nothing: which file, which filter, how many there were."""
    with pytest.raises(
        UserError, match=r"boxes.csv reaches PERSON_SCORE_THRESH 0.995 \(5 boxes, best 0.99\)"
    ):
        with_detections.records("detected", min_score=0.995)
    caplog.set_level("INFO")
    annotated = summary(dataset(folder).records())
    assert summary(with_detections.records("both", min_score=0.995)) == annotated
    assert (
        "reaches PERSON_SCORE_THRESH 0.995" in caplog.text
        and "only annotated persons are used" in caplog.text
    )
    (folder / "boxes.csv").write_text("B.mp4,0902,0.1,0.2,0.48,0.8,,0.99\n")
    with pytest.raises(
        UserError, match=r"is in a video of .*gt.csv: videos there are called b, a, here B.mp4"
    ):
        with_detections.records("detected")
    (folder / "boxes.csv").write_text("b,0902\n")
    with pytest.raises(UserError, match="boxes.csv has no box that can be used, only keyframes"):
        with_detections.records("detected")
    (folder / "ex.csv").write_text("b,902\nb,905\na,903\n")
    with pytest.raises(UserError, match=r"ex.csv excludes every keyframe that has a person \(3\)"):
        dataset(folder, exclusions=folder / "ex.csv").records()


def test_how_many_boxes_are_taken_is_in_the_log(with_detections, caplog) -> None:
    caplog.set_level("INFO")
    with_detections.records("both", min_score=0.95)
    assert re.search(r"mine: 2 of 5 boxes of .*boxes.csv are taken \(score at least 0.95", caplog.text)
    assert "1 detected boxes match no annotated person" in caplog.text


def test_boxes_that_are_not_there(folder) -> None:
    with pytest.raises(UserError, match="mine has no 'person_boxes'"):
        dataset(folder).records("both")
    with pytest.raises(UserError, match="'detcted' are unknown; did you mean 'detected'"):
        dataset(folder).records("detcted")


# ---- videos -----------------------------------------------------------------------------------


def test_find_videos(tmp_path) -> None:
    for name in (
        "one/a.mp4",
        "one/b.AVI",
        "one/notes.txt",
        "two/c.d.mkv",
        "two/class x/e.mov",
        "two/f/f_000001.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    found = find_videos(folders, ["a", "b", "c.d", "class x/e", "f", "a.mp4", "notes", "nowhere/z"])
    assert {name: Path(path).relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "a": "one/a.mp4",
        "b": "one/b.AVI",
        "c.d": "two/c.d.mkv",
        "class x/e": "two/class x/e.mov",
        "f": "two/f",
        "a.mp4": "one/a.mp4",
    }


def test_an_id_that_means_two_files(folder) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "a.avi").touch()
    both = AVADataset(
        "mine", [folder / "videos", folder / "more"], folder / "labels.pbtxt", annotations=folder / "gt.csv"
    )
    with pytest.raises(UserError, match=r"video 'a' could be .*a\.mp4 or .*a\.avi"):
        both.records()
    # The same folder twice, and files that nobody asks for, do no harm.
    (folder / "more" / "a.avi").rename(folder / "more" / "z.avi")
    (folder / "more" / "z.mp4").touch()
    twice = [folder / "videos", folder / "videos", folder / "more"]
    assert (
        len(AVADataset("mine", twice, folder / "labels.pbtxt", annotations=folder / "gt.csv").records()) == 3
    )


def test_missing_videos(folder, caplog) -> None:
    (folder / "videos" / "a.mp4").unlink()
    with pytest.raises(UserError, match=r"1 of 2 videos are missing from .*videos, for example .*a\.mp4"):
        dataset(folder).records()
    assert [r.id for r in dataset(folder, max_missing=0.5).records()] == ["b,0902", "b,0905"]
    assert "1 of 2 videos are missing" in caplog.text
    (folder / "videos" / "b.webm").unlink()
    with pytest.raises(UserError, match="2 of 2 videos are missing"):
        dataset(folder, max_missing=1.0).records()
    with pytest.raises(UserError, match="folder of videos .*nowhere does not exist"):
        AVADataset(
            "mine", folder / "nowhere", folder / "labels.pbtxt", annotations=folder / "gt.csv"
        ).records()


def test_frame_list(folder) -> None:
    (folder / "videos" / "folder_of_a").mkdir()
    (folder / "videos" / "b").mkdir()
    (folder / "list.csv").write_text(
        "original_vido_id video_id frame_id path labels\n"
        'a 0 0 folder_of_a/img_000001.jpg ""\na 0 1 folder_of_a/img_000002.jpg ""\nb 1 0 b/b_000001.jpg ""\n'
    )
    records = dataset(folder, frame_list=folder / "list.csv").records()
    assert {r.video_id: Path(r.video).name for r in records} == {"a": "folder_of_a", "b": "b"}


# ---- description files ------------------------------------------------------------------------

DESCRIPTION = """\
format: ava
videos: [videos]
label_map: labels.pbtxt
annotations: gt.csv
first_second: 900
"""


def describe(folder: Path, text: str) -> Path:
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


def test_description(folder, monkeypatch) -> None:
    read = load_description(describe(folder, DESCRIPTION))
    assert read.name == "mine" and len(read.records()) == 3
    monkeypatch.setenv("WHERE", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    text = DESCRIPTION.replace("[videos]", "$WHERE/videos").replace("gt.csv", "~/gt.csv") + "name: other\n"
    monkeypatch.chdir("/")
    read = load_description(describe(folder, text))
    assert read.name == "other" and read.videos == [str(folder / "videos")] and len(read.records()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DESCRIPTION + "first_secnd: 3\n", "unknown key 'first_secnd'; did you mean 'first_second'"),
        (DESCRIPTION.replace("format: ava\n", ""), "no 'format:' line; formats are ava"),
        (DESCRIPTION.replace("format: ava", "format: avi"), "unknown format 'avi'; did you mean 'ava'"),
        (DESCRIPTION.replace("label_map: labels.pbtxt\n", ""), "the key 'label_map' is missing"),
        (DESCRIPTION.replace("gt.csv", "3"), "annotations is 3, but takes a path"),
        (DESCRIPTION.replace("900", "soon"), r"mine.yaml: first_second is 'soon'"),
        ("- a\n- b\n", "not a mapping"),
        ("a: [\n", "not valid YAML"),
        ("", "not a mapping"),
    ],
)
def test_bad_descriptions(folder, text, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_description(describe(folder, text))
    assert "mine.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_description(tmp_path) -> None:
    with pytest.raises(UserError, match="none.yaml does not exist"):
        load_description(tmp_path / "none.yaml")
