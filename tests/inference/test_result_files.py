"""Result files: what is written can be read, by us and by the tools that others use."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from modist_det.evaluation import evaluate_ava
from modist_det.formats.ava.files import read_detections
from modist_det.inference import (
    ActionSegment,
    ClipActions,
    KeyframeActions,
    Tube,
    VideoActions,
    VideoHeader,
    to_instances,
)
from modist_det.inference.results import JsonWriter
from modist_det.utils.errors import UserError


@pytest.fixture
def found() -> VideoActions:
    """Two people at second 1, nobody at 1.5, one at 2; classes 2 and 5."""
    rng = np.random.default_rng(0)

    def keyframe(second: float, ids: list[int]) -> KeyframeActions:
        corners = rng.uniform(0, 0.5, (len(ids), 2))
        boxes = np.hstack([corners, corners + 0.4]).astype(np.float32)
        scores = rng.uniform(0, 1, (len(ids), 2)).astype(np.float32)
        return KeyframeActions(
            second, boxes, np.full(len(ids), 0.75, np.float32), np.array(ids, np.int64), scores
        )

    tube = Tube(
        3,
        np.array([0.8, 1.0, 1.2, 1.4]),
        np.array([[0.1 * i, 0.2, 0.1 * i + 0.25, 0.6] for i in range(4)], np.float32),
        (ActionSegment(5, 1.0, 1.25, 0.625),),
    )
    header = VideoHeader(
        'a "film", cut', 200, 100, {2: "Gehen/läuft", 5: "wave"}, "m.pth", "FastestDet", {}, {5: 0.25}
    )
    frames = (keyframe(1.0, [3, 4]), keyframe(1.5, []), keyframe(2.0, [4]))
    return VideoActions(header, frames, (tube,), 2.5, 60)


def test_json_round_trip(found, tmp_path):
    found.to_json(tmp_path / "r.json")
    again = VideoActions.from_json(tmp_path / "r.json")
    assert again.header == found.header
    assert (again.duration, again.num_frames) == (2.5, 60)
    assert len(again.keyframes) == 3
    for one, other in zip(again.keyframes, found.keyframes, strict=True):
        assert one.second == other.second
        for name in ("boxes", "person_scores", "track_ids", "scores"):
            a, b = getattr(one, name), getattr(other, name)
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5)
    (tube,) = again.tubes
    assert tube.track_id == 3 and (tube.start, tube.end) == (0.8, 1.4)
    assert tube.actions == found.tubes[0].actions
    np.testing.assert_allclose(tube.boxes, found.tubes[0].boxes, rtol=1e-5)
    again.to_json(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()


def test_csv_goes_into_the_evaluator(found, tmp_path):
    """A ground truth made of the best-scored boxes: mean AP is 1 by construction; a shifted one gives 0."""
    found.to_csv(tmp_path / "d.csv", first_second=900)
    table = read_detections(tmp_path / "d.csv")
    assert table.videos == ('a "film", cut',)
    assert len(table) == 3 * 2  # people times classes
    assert sorted(set(table.second.tolist())) == [901.0, 902.0]
    np.testing.assert_allclose(
        table.score, np.concatenate([k.scores.ravel() for k in found.keyframes]), rtol=1e-6
    )
    np.testing.assert_array_equal(table.action, [2, 5] * 3)

    (tmp_path / "labels.pbtxt").write_text('item { name: "walk" id: 2 }\nitem { name: "wave" id: 5 }\n')
    rows = [
        f'"a ""film"", cut",{k.second + 900:04.0f},' + ",".join(f"{v:.6f}" for v in box) + f",{action}"
        for k in found.keyframes
        for box in k.boxes.tolist()
        for action in (2, 5)
    ]
    (tmp_path / "g.csv").write_text("\n".join(rows) + "\n")
    assert evaluate_ava(tmp_path / "g.csv", tmp_path / "d.csv", tmp_path / "labels.pbtxt")["mAP"] == 1.0
    (tmp_path / "g.csv").write_text("\n".join(row.replace(",0901,", ",0905,") for row in rows) + "\n")
    result = evaluate_ava(tmp_path / "g.csv", tmp_path / "d.csv", tmp_path / "labels.pbtxt")
    assert result["mAP"] == pytest.approx(1 / 3)


def test_coco_style(found, tmp_path):
    found.to_coco(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["videos"] == [
        {"id": 1, "name": 'a "film", cut', "width": 200, "height": 100, "length": 60, "duration": 2.5}
    ]
    assert content["categories"] == [{"id": 2, "name": "Gehen/läuft"}, {"id": 5, "name": "wave"}]
    (annotation,) = content["annotations"]
    assert annotation["category_id"] == 5 and annotation["track_id"] == 3 and annotation["score"] == 0.625
    assert annotation["times"] == [1.0, 1.2]  # inside of the action, not of the whole tube
    np.testing.assert_allclose(annotation["bboxes"], [[20, 20, 50, 40], [40, 20, 50, 40]], rtol=1e-5)


def test_nothing_found(found, tmp_path):
    empty = VideoActions(found.header, (), (), 1.0, 25)
    empty.to_json(tmp_path / "r.json")
    empty.to_csv(tmp_path / "r.csv")
    empty.to_coco(tmp_path / "c.json")
    assert VideoActions.from_json(tmp_path / "r.json").keyframes == ()
    assert len(read_detections(tmp_path / "r.csv")) == 0
    assert json.loads((tmp_path / "c.json").read_text())["annotations"] == []


def test_a_run_that_fails_leaves_nothing(found, tmp_path):
    with pytest.raises(RuntimeError, match="stop"), JsonWriter(tmp_path / "r.json", found.header) as writer:
        writer.keyframe(found.keyframes[0])
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "not a result file"),
        ('{"format": "modist_det.video_actions/1"}', "lacks 'classes'"),
    ],
)
def test_other_json_is_refused(text, reason, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match=reason):
        VideoActions.from_json(tmp_path / "r.json")
    with pytest.raises(UserError, match="none.json does not exist"):
        VideoActions.from_json(tmp_path / "none.json")


def test_box_between_observations(found):
    tube = found.tubes[0]
    np.testing.assert_allclose(tube.box_at(0.9), [0.05, 0.2, 0.3, 0.6], atol=1e-6)
    np.testing.assert_allclose(tube.box_at(0.0), tube.boxes[0])
    np.testing.assert_allclose(tube.box_at(9.0), tube.boxes[3])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(width=0), "frames are 0x"),
        (lambda c: c.update(height=-3), "frames are"),
        (lambda c: c.update(duration=float("nan")), "its duration is nan"),
        (lambda c: c["classes"].append(c["classes"][0]), "class id is there twice"),
        (lambda c: c["classes"][0].update(id=0), "below 1"),
        (lambda c: c["keyframes"][0].update(second=float("inf")), "second is inf"),
        (lambda c: c["keyframes"][0]["people"][0].update(box=[0.1, float("nan"), 0.2, 0.3]), "not finite"),
        (lambda c: c["keyframes"][0]["people"][0].update(box=[0.3, 0.1, 0.2, 0.3]), "inverted"),
        (lambda c: c["keyframes"][0]["people"][0].update(box=[30, 10, 50, 80]), "not in fractions"),
        (lambda c: c["keyframes"][0]["people"][0].update(box=[0.1, 0.1, 0.2]), ""),
        (lambda c: c["keyframes"][0]["people"][0].update(person_score=float("nan")), "score is not a number"),
        (lambda c: c["keyframes"][0]["people"][0].update(scores=[7.0] * 2), "score is not a number"),
        (lambda c: c["tubes"][0].update(times=[]), "times of a tube"),
        (lambda c: c["tubes"][0].update(times=c["tubes"][0]["times"][::-1] + [-1.0]), "times of a tube"),
        (lambda c: c["tubes"][0]["boxes"].pop(), "one box for each"),
        (
            lambda c: c["tubes"][0].update(actions=[{"id": 99, "start": 0, "end": 1, "score": 1}]),
            "class id 99",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, change, reason):
    box = [0.1, 0.2, 0.5, 0.9]
    content = {
        "format": "modist_det.video_actions/1",
        "video": "v",
        "width": 64,
        "height": 48,
        "model": "m",
        "person_detector": "d",
        "classes": [{"id": 1, "name": "stand", "type": "PERSON_MOVEMENT"}, {"id": 3, "name": "run"}],
        "keyframes": [
            {
                "second": 0.5,
                "people": [{"track_id": 1, "box": box, "person_score": 0.9, "scores": [0.2, 0.3]}],
            }
        ],
        "tubes": [{"track_id": 1, "times": [0.0, 0.5], "boxes": [box, box], "actions": []}],
        "duration": 1.0,
        "num_frames": 25,
    }
    path = tmp_path / "v.json"
    path.write_text(json.dumps(content))
    assert VideoActions.from_json(path).header.class_types == {1: "PERSON_MOVEMENT"}
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"v.json is not of format .*{reason}"):
        VideoActions.from_json(path)


def test_top():
    actions = ClipActions(
        np.zeros((1, 4), np.float32), np.array([[0.2, 0.9, 0.5]], np.float32), {1: "a", 4: "b", 6: "c"}
    )
    assert [name for name, _ in actions.top(0, 2)] == ["b", "c"]


@pytest.mark.detectron2
def test_keyframes_as_instances():
    """The fields, in pixels, and detectron2's Visualizer on them; also where nobody is."""
    pytest.importorskip("detectron2", reason="detectron2 is not installed (INSTALL.md)")
    from detectron2.data import Metadata
    from detectron2.utils.visualizer import Visualizer

    header = VideoHeader("v", 200, 100, {1: "stand", 5: "walk", 7: "run"})
    keyframe = KeyframeActions(
        1.5,
        np.array([[0.1, 0.2, 0.5, 0.9], [0.5, 0.0, 1.0, 1.0]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([3, 4]),
        np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.5]], np.float32),
    )
    instances = to_instances(keyframe, header)
    assert instances.image_size == (100, 200)
    np.testing.assert_allclose(
        instances.pred_boxes.tensor, [[20, 20, 100, 90], [100, 0, 200, 100]], rtol=1e-6
    )
    names = list(header.class_names.values())
    assert [names[c] for c in instances.pred_classes] == ["walk", "stand"]
    np.testing.assert_allclose(instances.scores, [0.7, 0.6])
    np.testing.assert_allclose(instances.action_scores, keyframe.scores)
    np.testing.assert_allclose(instances.person_scores, [0.9, 0.8])
    assert instances.track_ids.tolist() == [3, 4]
    grey = np.full((100, 200, 3), 90, np.uint8)
    drawn = Visualizer(grey, Metadata().set(thing_classes=names)).draw_instance_predictions(instances)
    assert (drawn.get_image() != grey).any(axis=2)[20:90, 19:22].any()

    nobody = KeyframeActions(
        1.5,
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, int),
        np.zeros((0, 3), np.float32),
    )
    assert len(to_instances(nobody, header)) == 0


def test_instances_without_detectron2():
    code = (
        "import sys; sys.modules['detectron2'] = None\n"
        "from modist_det.inference import to_instances\n"
        "from modist_det.utils.errors import UserError\n"
        "try:\n"
        "    to_instances(None, None)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "INSTALL.md" in done.stdout, done.stderr
