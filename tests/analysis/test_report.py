"""A report's content against a case worked out by hand, and the page's independence of everything outside it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import yaml

from modist_det.analysis.report import report_page, write_report
from modist_det.analysis.report.outcomes import false_positives, misses, operating_points, select_keyframes
from modist_det.evaluation.ava import match_ava
from modist_det.evaluation.bootstrap import ava_hits, map_interval
from modist_det.evaluation.predictions_file import read_predictions
from modist_det.formats.ava.files import LabelEntry, read_ava_boxes, read_label_map, write_detections
from modist_det.utils.errors import UserError
from modist_det.video.writer import VideoWriter
from tests.warm import run_program

LABELS = {1: LabelEntry("walk"), 2: LabelEntry("run"), 5: LabelEntry("fly")}
LEFT, RIGHT, LOW = "0,0,0.4,1", "0.6,0,1,1", "0,0.9,0.2,1"


@pytest.fixture
def match(tmp_path):
    def run(truth, detections):
        (tmp_path / "g.csv").write_text("\n".join(truth) + "\n")
        (tmp_path / "d.csv").write_text("\n".join(detections) + "\n")
        return match_ava(tmp_path / "g.csv", tmp_path / "d.csv", LABELS)

    return run


TRUTH = [
    f"a,1,{LEFT},1",  # 0
    f"a,1,{RIGHT},1",  # 1
    f"a,2,{LEFT},1",  # 2
    f"a,2,{RIGHT},2",  # 3
    f"a,3,{LEFT},5",  # 4
    "a,4",
]
DETECTIONS = [
    f"a,1,{LEFT},1,0.9",  # finds 0
    f"a,1,{RIGHT},1,0.8",  # finds 1
    f"a,1,{RIGHT},1,0.7",  # again
    f"a,4,{LOW},1,0.6",  # nobody there
    f"a,2,{LEFT},1,0.1",  # finds 2, below the threshold
    f"a,2,{LEFT},2,0.5",  # that person walks
]


def test_thresholds_have_the_highest_f1(match):
    points = operating_points(match(TRUTH, DETECTIONS))
    # walk: F1 after each detection is 2 hits / (number + 3): 2/4, 4/5, 4/6, 4/7, 6/8
    assert (points[0].threshold, points[0].precision, points[0].recall) == (0.8, 1.0, 2 / 3)
    # run: nothing is right; the first detection is as good as any.
    assert (points[1].threshold, points[1].precision, points[1].recall) == (0.5, 0.0, 0.0)
    assert 2 not in points  # "fly" is never detected


def test_misses_and_false_positives(match):
    matched = match(TRUTH, DETECTIONS)
    points = operating_points(matched)
    found = [
        (matched.keyframe(m.keyframe)[1], int(matched.boxes.row[m.box]), m.class_index, m.score)
        for m in misses(matched, points, 10)
    ]
    # What nothing finds comes first.
    assert sorted(found[:2]) == [(2.0, 3, 1, None), (3.0, 4, 2, None)] and found[2:] == [(2.0, 2, 0, 0.1)]
    person = {m.box: m.person_detected for m in misses(matched, points, 10)}
    by_row = {int(matched.boxes.row[box]): detected for box, detected in person.items()}
    assert by_row == {3: False, 4: False, 2: True}

    (only,) = false_positives(matched, points, 10)
    assert (only.score, only.kind, matched.keyframe(only.keyframe)) == (0.5, "action", ("a", 2.0))


def test_classes_without_ground_truth_are_among_the_false_positives(match):
    """Their threshold is the median of 0.8 and 0.5."""
    flies = [f"a,2,{LEFT},5,0.66", f"a,4,{LOW},5,0.64"]
    matched = match(TRUTH[:4] + TRUTH[5:], DETECTIONS + flies)
    points = operating_points(matched)
    assert 2 not in points
    found = {(f.class_index, f.score, f.kind) for f in false_positives(matched, points, 10)}
    assert found == {(1, 0.5, "action"), (2, 0.66, "action")}


def test_kinds_of_false_positives(match):
    # With a second walker found at 0.3 all detections down to there are wanted.
    matched = match(TRUTH[:2], [DETECTIONS[0], DETECTIONS[2], f"a,1,{RIGHT},1,0.65", f"a,1,{LOW},1,0.66"])
    lowest = {0: operating_points(matched)[0].__class__(0.0, 0.0, 0.0)}
    kinds = {f.score: f.kind for f in false_positives(matched, lowest, 10)}
    assert kinds == {0.66: "nobody", 0.65: "repeat"}


def test_classes_take_turns(match):
    truth = [f"a,{second},{LEFT},1" for second in range(5)] + [f"b,1,{LEFT},2"]
    scores = [0.01, 0.02, 0.03, 0.04]
    detections = [f"a,{second},{LEFT},1,{score}" for second, score in enumerate(scores)] + [
        f"b,1,{LEFT},2,0.5",
        f"b,1,{RIGHT},1,0.6",
    ]
    matched = match(truth, detections)
    high = {c: operating_points(matched)[c].__class__(0.9, 0.0, 0.0) for c in (0, 1)}
    # Of three, two are of "walk", which has five, and one is of "run", which has one with a higher score.
    assert [(m.class_index, m.score) for m in misses(matched, high, 3)] == [(0, None), (0, 0.01), (1, 0.5)]


def test_select_keyframes():
    assert select_keyframes(10, [7, 3, 7], 2) == [3, 7]
    # 0 to 9 without 4: first, middle and last of them.
    assert select_keyframes(10, [4], 4) == [0, 4, 5, 9]
    assert select_keyframes(3, [2], 9) == [0, 1, 2]
    assert select_keyframes(5, [], 0) == []


# ---- the file ---------------------------------------------------------------------------------


@pytest.fixture
def written(tiny_puppets, tmp_path):
    """The data of a report of the tiny set, in which all detections are right, and the page."""

    def make(table=None, data=None, **options):
        csv, out = tmp_path / "detections.csv", tmp_path / "report.html"
        write_detections(csv, table or read_ava_boxes(tiny_puppets / "val.csv"))
        write_report(str(data or tiny_puppets / "val.yaml"), csv, out, **options)
        page = out.read_text()
        data = re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)
        return json.loads(data[1]), page

    return make


def test_content_of_a_perfect_run(written, tiny_puppets):
    content, page = written(num_clips=2)
    truth = read_ava_boxes(tiny_puppets / "val.csv")
    assert content["summary"]["mAP"] == 1.0 and content["summary"]["warnings"] == []
    assert content["misses"] == content["false_positives"] == []
    keys = set(zip((truth.videos[v] for v in truth.video), truth.second.tolist(), strict=True))
    assert {(k["video"], k["second"]) for k in content["keyframes"]} >= keys
    actions = [action for k in content["keyframes"] for person in k["truth"] for action in person["actions"]]
    assert len(actions) == len(truth) and all(score == 1.0 for _, score in actions)
    assert sum(k["clip"] is not None for k in content["keyframes"]) == 2
    drawn = [c for c in content["classes"] if c["num_groundtruth"]]
    assert drawn and all(c["curve"][-1] == [1.0, 1.0] and c["recall"] == 1.0 for c in drawn)


def test_pictures_and_clips_are_those_of_the_keyframes(written, tiny_puppets):
    content, _ = written(num_clips=1)
    keyframe = next(k for k in content["keyframes"] if k["clip"])
    kind, data = keyframe["image"].split(",")
    assert kind == "data:image/jpeg;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3) == (keyframe["height"], keyframe["width"], 3)
    with av.open(str(tiny_puppets / "videos" / f"{keyframe['video']}.mp4")) as video:
        source = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    wanted = source[round(keyframe["second"] * 10)].astype(int)  # 10 frames a second
    assert np.abs(picture - wanted).mean() < 8
    assert all(
        np.abs(other - wanted).mean() > 8 for other in (source[0], source[-1]) if keyframe["second"] == 1
    )
    clip = base64.b64decode(keyframe["clip"].split(",")[1])
    with av.open(io.BytesIO(clip)) as video:
        stream = video.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height) == ("h264", 64, 48)
        assert 1.0 <= sum(1 for _ in video.decode(video=0)) / 12 <= 2.0


def test_clips_stay_within_their_bytes(written):
    content, _ = written(num_clips=50)
    sizes = [len(k["clip"]) for k in content["keyframes"] if k["clip"]]
    limit = max(sizes) * 2
    content, _ = written(num_clips=50, max_clip_bytes=limit)
    fewer = [len(k["clip"]) for k in content["keyframes"] if k["clip"]]
    assert 1 <= len(fewer) < len(sizes) and sum(fewer) <= limit
    assert not any(k["clip"] for k in written(num_clips=50, max_clip_bytes=0)[0]["keyframes"])


def test_the_worst_have_the_clips(written, tiny_puppets):
    truth = read_ava_boxes(tiny_puppets / "val.csv")
    # All is found at 0.9 but one person's actions, in the last keyframe with anybody in it.
    last = (truth.video == truth.video[-1]) & (truth.second == truth.second[-1])
    table = dataclasses.replace(truth, score=np.where(last, 0.1, 0.9))
    lowest = dataclasses.replace(
        table, action=np.where(last, truth.action % 12 + 1, truth.action).astype(np.int32)
    )
    content, _ = written(lowest, num_clips=1)
    (clip,) = [k for k in content["keyframes"] if k["clip"]]
    assert (clip["video"], clip["second"]) == (truth.videos[truth.video[-1]], truth.second[-1])
    assert content["misses"][0]["score"] is None
    assert content["keyframes"][content["misses"][0]["keyframe"]] == clip


def test_intervals_are_those_of_resampled_videos(written, tiny_puppets):
    """Of the bootstrap's own call, within [0, 1]; without enough videos there are none."""
    truth = read_ava_boxes(tiny_puppets / "train.csv")
    # Every other box is found with another action.
    table = dataclasses.replace(
        truth,
        action=np.where(np.arange(len(truth)) % 2, truth.action, truth.action % 12 + 1).astype(np.int32),
        score=np.linspace(0.9, 0.1, len(truth)),
    )
    content, _ = written(table, tiny_puppets / "train.yaml", num_clips=0)
    (name,) = [name for name in content["summary"]["metrics"] if name.startswith("mAP at")]
    low, high = content["summary"]["intervals"][name]
    assert low < content["summary"]["mAP"] < high
    labels = read_label_map(tiny_puppets / "label_map.pbtxt")
    expected = map_interval(ava_hits(match_ava(truth, table, labels)))
    assert (low, high) == (expected["low"], expected["high"])
    for row in content["classes"]:
        if row["name"] in expected["per_class"] and np.isfinite(expected["per_class"][row["name"]][1]):
            ends = np.clip(expected["per_class"][row["name"]][1:], 0, 1)
            assert row["interval"] == pytest.approx(ends.tolist())
        else:
            assert row["interval"] is None
    content, _ = written(num_clips=0)
    assert content["summary"]["intervals"] == {} and all(c["interval"] is None for c in content["classes"])


def test_fewer_keyframes(written):
    content, _ = written(num_keyframes=4)
    assert len(content["keyframes"]) == 4 == content["summary"]["num_keyframes_shown"]


def test_a_missing_video_is_a_note(written, tiny_puppets, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in (tiny_puppets / "videos").glob("val_*.mp4"):
        (videos / path.name).symlink_to(path)
    (videos / "val_0000.mp4").unlink()
    (videos / "val_0001.mp4").unlink()
    (videos / "val_0001.mp4").write_text("no video")
    data = tmp_path / "val.yaml"
    data.write_text(
        f"format: ava\nname: x\nvideos: {videos}\nannotations: {tiny_puppets}/val.csv\n"
        f"label_map: {tiny_puppets}/label_map.pbtxt\n"
    )
    content, _ = written(data=data)
    notes = {k["video"]: (k["note"], k["image"] is None) for k in content["keyframes"]}
    assert notes["val_0000"] == ("The video val_0000 is missing.", True)
    assert "cannot read video" in notes["val_0001"][0] and notes["val_0001"][1]
    assert notes["val_0002"] == ("", False)


def test_the_page_refers_to_nothing_outside_and_names_cannot_break_it(written):
    _, page = written()
    markup = re.sub(r'id="report-data">.*?</script>', "", page, flags=re.DOTALL)
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", markup)
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\s*\(", markup)
    assert "default-src 'none'" in page
    hostile = "</script><script>alert(1)</script><!--"
    made = report_page({"name": hostile})
    assert made.count("<script") == 2 and json.loads(
        re.search(r'id="report-data">(.*?)</script>', made, re.DOTALL)[1]
    ) == {"name": hostile}


# ---- the command ------------------------------------------------------------------------------


def test_command(tiny_puppets, tmp_path, root):
    csv, out = tmp_path / "d.csv", tmp_path / "made" / "report.html"
    write_detections(csv, read_ava_boxes(tiny_puppets / "val.csv"))
    command = [root / "tools/report.py", "--data", tiny_puppets / "val.yaml"]
    done = run_program([*command, "--detections", csv, "--out", out])
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {out}\n" and out.stat().st_size > 10_000
    csv.write_text("val_0000,1,0.1,0.1,0.5,x,1,0.9\n")
    done = run_program([*command, "--detections", csv, "--out", tmp_path / "no.html"])
    assert done.returncode == 1 and done.stderr == f"error: {csv}:1: y2 is 'x', not a finite number\n"
    assert not (tmp_path / "no.html").exists()


def test_data_without_annotations(tiny_puppets, tmp_path):
    description = yaml.safe_load((tiny_puppets / "val.yaml").read_text())
    paths = {key: str(tiny_puppets / description[key]) for key in ("videos", "label_map", "person_boxes")}
    data = tmp_path / "mine.yaml"
    data.write_text(yaml.safe_dump({"format": "ava", "name": "mine", **paths}))
    with pytest.raises(UserError, match=r"^dataset mine has no 'annotations', which ground truth boxes come"):
        write_report(str(data), tmp_path / "d.csv", tmp_path / "r.html")


# ---- labelled videos --------------------------------------------------------------------------

# Labels by the folder; the fourth video is in no row.
PREDICTIONS = """\
video,label,rank,class1,score1,class2,score2
jump/a.mp4,jump,1,jump,0.9,run,0.1
jump/b.mp4,jump,2,run,0.8,jump,0.2
run/c.mp4,run,1,run,0.6,walk,0.4
"""


@pytest.fixture
def labelled(tmp_path):
    """Videos of three classes, of which those of "jump" grow brighter; and a report of ``PREDICTIONS``."""
    for name in ("jump/a", "jump/b", "run/c", "walk/d"):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shades = np.linspace(0, 250, 21) if name.startswith("jump") else np.full(21, 100.0)
        with VideoWriter(path, 32, 48, Fraction(10)) as video:
            for number, shade in enumerate(shades):
                video.write(np.full((32, 48, 3), shade, np.uint8), number / 10)
    data = tmp_path / "mine.yaml"
    data.write_text("format: class_folders\nvideos: videos\n")
    (tmp_path / "p.csv").write_text(PREDICTIONS)
    write_report(str(data), tmp_path / "p.csv", tmp_path / "r.html", num_clips=1)
    page = (tmp_path / "r.html").read_text()
    return json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_classifier_s_report(labelled, tmp_path, caplog):
    assert labelled["task"] == "classification"
    # ranks 1, 2, 1 of two listed classes of three; the mean over "jump" (1 of 2) and "run" (1 of 1)
    assert labelled["summary"]["metrics"] == pytest.approx(
        {"top1": 2 / 3, "top3": 1.0, "mean_class_accuracy": 0.75}
    )
    # Wilson's intervals of 2 of 3, and of 1 of 2, by his formula with z = 1.959964.
    assert labelled["summary"]["intervals"]["top1"] == pytest.approx((0.20766, 0.93851), abs=1e-5)
    jump, run, walk = labelled["classes"]
    assert jump["interval"] == pytest.approx((0.09453, 0.90547), abs=1e-5) and walk["interval"] is None
    assert (jump["accuracy"], jump["taken_for"]) == (0.5, "run (1)")
    assert (run["accuracy"], run["taken_for"]) == (1.0, "")
    assert (walk["accuracy"], walk["num_groundtruth"], walk["num_detections"]) == (None, 0, 1)
    # "jump": the best F1 is that of both its videos, "run" is wrong at 0.8 and 0.1 and right at 0.6 between them.
    assert (jump["threshold"], jump["precision"], jump["recall"]) == (0.2, 1.0, 1.0)
    assert (run["threshold"], run["precision"], run["recall"]) == (0.6, 0.5, 1.0)
    assert labelled["misses"] == []
    # "walk" has no ground truth: it counts from 0.4, the median of 0.2 and 0.6.
    wrong, walks = labelled["false_positives"]
    assert (walks["class"], walks["score"]) == (2, 0.4)
    shown = labelled["keyframes"][wrong["keyframe"]]
    assert (shown["video"], wrong["class"], wrong["score"], wrong["kind"]) == ("jump/b.mp4", 1, 0.8, "action")
    assert shown["truth"] == [{"box": [0, 0, 1, 1], "actions": [[0, 0.2]]}]
    assert shown["people"] == [{"box": [0, 0, 1, 1], "actions": [[1, 0.8, 0], [0, 0.2, 1]]}]
    # The image is the middle of the video, in which gray has reached half of 250.
    data = base64.b64decode(shown["image"].split(",")[1])
    assert abs(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).mean() - 125) < 15
    assert shown["clip"] is not None and len(labelled["keyframes"]) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", r"p.csv is not a file of predictions: its first row must begin with video,label,rank"),
        (PREDICTIONS + "walk/e.mp4,walk,1,walk,0.9\n", r"p.csv:5: the dataset has no video 'walk/e.mp4'"),
        (PREDICTIONS + "jump/a.mp4,jump,1,jump,0.9\n", r"p.csv:5: the video 'jump/a.mp4' is there twice"),
        (PREDICTIONS.replace("walk,0.4", "fly,0.4"), r"p.csv:4: the dataset has no class 'fly'"),
        (PREDICTIONS.replace("0.8", "nan"), r"p.csv:3: rank and scores must be finite numbers"),
        (PREDICTIONS.splitlines()[0] + "\n", r"p.csv has no predictions"),
    ],
)
def test_predictions_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_predictions(
            tmp_path / "p.csv", ["jump/a.mp4", "jump/b.mp4", "run/c.mp4"], ["jump", "run", "walk"]
        )


def test_videos_without_labels_have_no_report(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    (tmp_path / "mine.yaml").write_text("format: videos\nvideos: videos\n")
    with pytest.raises(UserError, match=r"a report needs keyframes with person boxes, or videos with class"):
        write_report(str(tmp_path / "mine.yaml"), tmp_path / "p.csv", tmp_path / "r.html")
