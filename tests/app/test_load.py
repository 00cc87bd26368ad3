"""``load(...).predict(...)``: the results of the engine, printed, converted and saved."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

import modist_det as md
from modist_det.inference import ActionPredictor, build_person_detector, predict_video
from modist_det.inference.redraw import ShownResults
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video


@pytest.fixture(scope="module")
def detected(detector_run, clip, boxes):
    return md.load(detector_run, persons=str(boxes)).predict(clip, min_score=0.2)


@pytest.fixture(scope="module")
def classified(classifier_run, clip):
    return md.load(classifier_run).predict(clip)


def test_the_import_is_cheap():
    code = "import sys, modist_det; print(sorted({'torch', 'numpy', 'cv2', 'av'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_same_as_the_engine(detected, detector_run, clip, boxes):
    expected = predict_video(
        clip, ActionPredictor.from_checkpoint(detector_run), build_person_detector(str(boxes))
    )
    assert len(detected.actions.keyframes) == len(expected.keyframes) == 4
    for one, other in zip(detected.actions.keyframes, expected.keyframes, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
    assert detected.actions.tubes[0].actions  # min_score 0.2 reached the pipeline


def test_it_prints_well(detected, classified, classifier_run):
    lines = str(detected).splitlines()
    assert lines[0].startswith("clip.mp4: 2.0 s, 4 keyframes, 1 people")
    assert lines[1].split() == ["person", "action", "from", "s", "to", "s", "score"]
    assert repr(classified).startswith("clip.mp4: ") and "window" not in repr(classified)
    best, score = classified.top(1)[0]
    assert f"{best} {score:.2f}" in str(classified)
    assert re.search(r"classification on cpu, 3 classes: jump, run", repr(md.load(classifier_run)))


@pytest.mark.parametrize("which", ["detected", "classified"])
def test_in_a_notebook(which, request):
    page = request.getfixturevalue(which)._repr_html_()
    image = base64.b64decode(re.search(r'base64,([^"]+)"', page)[1])
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert min(pixels.shape[:2]) > 100 and pixels.std() > 10
    assert "<table>" in page and "<b>walk" not in page  # names are text


def test_drawn_boxes_follow_the_track(detected):
    """The square moves 10 pixels of 64 a second; boxes were given every 0.5 s."""
    (person,) = ShownResults(detected.actions).at(0.75)
    np.testing.assert_allclose(person.box, [11.5 / 64, 16 / 48, 27.5 / 64, 32 / 48], atol=0.02)
    np.testing.assert_array_equal(person.scores, detected.actions.keyframes[1].scores[0])
    assert ShownResults(detected.actions).at(9.0) == []


def test_saved_files(detected, classified, tmp_path):
    for name, result in (("d", detected), ("c", classified)):
        for end in ("mp4", "gif", "webp", "json", "csv", "png"):
            assert result.save(tmp_path / f"{name}.{end}").stat().st_size > 50
        assert result.to_dict() == json.loads((tmp_path / f"{name}.json").read_text())
        with open_video(tmp_path / f"{name}.mp4") as video:
            assert video.info.num_frames == 20
    with pytest.raises(UserError, match=r"not saved as 'a.avi'"):
        detected.save("a.avi")
    assert detected.to_json(tmp_path / "a.result") == tmp_path / "a.result"  # the name is the user's
    assert json.loads((tmp_path / "a.result").read_text()) == detected.to_dict()


def test_the_video_is_not_replaced(detected):
    with pytest.raises(UserError, match="is the video itself"):
        detected.save(detected.video)


def test_mistakes(classifier_run, clip):
    model = md.load(classifier_run)
    with pytest.raises(UserError, match="no setting 'keyframe_every' for classification"):
        model.predict(clip, keyframe_every=1)
    with pytest.raises(UserError, match="none.mp4 does not exist"):
        model.predict("none.mp4")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        md.lod  # noqa: B018


def test_pandas(detected, classified):
    pytest.importorskip("pandas")
    table = detected.to_pandas()
    assert len(table) == 4 * 1 * 3 and table["second"].tolist()[::3] == [0, 0.5, 1, 1.5]
    row = table.iloc[4]
    assert row["action"] == "run" and row["action_id"] == 2
    assert row["score"] == pytest.approx(detected.actions.keyframes[1].scores[0, 1])
    assert len(detected.to_pandas(min_score=2)) == 0
    table = classified.to_pandas()
    assert list(table.columns) == ["start", "end", "jump", "run", "<b>walk</b>"]
    np.testing.assert_allclose(table["run"], classified.classes.window_scores[:, 1])


def test_supervision(detected, classified):
    pytest.importorskip("supervision")
    found = detected.to_supervision()
    assert len(found) == 4
    np.testing.assert_allclose(found[0].xyxy, [[4, 16, 20, 32]], atol=0.5)
    best = detected.actions.keyframes[0].scores[0].argmax()
    assert found[0].class_id.tolist() == [best + 1] and found[0].tracker_id.tolist() == [1]
    assert classified.to_supervision().get_top_k(1)[0][0] == classified.classes.scores.argmax()
