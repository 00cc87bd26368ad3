"""Classes of new videos: equal to the evaluation's on short ones, windows of long ones, files."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.data.classification import ClassificationMapper
from modist_det.data.datasets.records import VideoRecord
from modist_det.inference import ClassPredictor, Outputs, VideoClasses
from modist_det.inference.choose import load_predictor
from modist_det.inference.class_run import write_class_outputs
from modist_det.inference.classifier import window_starts
from modist_det.modeling import build_model
from modist_det.structures.class_facts import ClassFacts
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Three classes, clips of four frames 0.2 s apart, 2 x 3 views."""
    cfg = get_cfg()
    cfg.merge_from_list(
        ["TASK", "classification", "MODEL.META_ARCHITECTURE", "VideoClassifier", "MODEL.NUM_CLASSES", 3]
        + ["MODEL.HEAD.NAME", "ClassificationHead", "MODEL.HEAD.ACTIVATION", "softmax"]
        + ["MODEL.LOSS.NAME", "cross_entropy", "MODEL.DEVICE", "cpu", "MODEL.HEAD.INIT_STD", 1.0]
        + ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.RESNET3D.STEM_KERNEL", [1, 3, 3]]
        + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
        + ["TEST.NUM_ENSEMBLE_VIEWS", 3]
    )
    torch.manual_seed(0)
    facts = ClassFacts("classification", 3, {0: "jump", 1: "run", 2: "walk"})
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "model_0000007.pth"
    path.parent.mkdir()
    state = {"model": build_model(cfg).state_dict(), "config": cfg.dump(), "class_facts": facts.to_dict()}
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return load_predictor(checkpoint)


@pytest.fixture(scope="module")
def short(film, tmp_path_factory):
    return film(tmp_path_factory.mktemp("videos") / "short.mp4", np.arange(50) / 25)


@pytest.fixture(scope="module")
def long(film, tmp_path_factory):
    """12 s."""
    return film(tmp_path_factory.mktemp("videos") / "long.mp4", np.arange(120) / 10)


def evaluated(predictor, path, **changes):
    """What the evaluation's mapper and the model give for a record."""
    mapper = ClassificationMapper.from_config(predictor.cfg, is_train=False)
    mapper.num_views = changes.pop("views", mapper.num_views)
    sample = mapper(VideoRecord(0, "a", str(path), **changes), np.random.default_rng(0))
    with torch.no_grad():
        return predictor.model({"video": sample["video"][None]})[0]["scores"].numpy()


def test_a_short_video_scores_as_in_evaluation(predictor, short):
    assert isinstance(predictor, ClassPredictor)
    result = predictor.predict_video(short)
    np.testing.assert_allclose(result.scores, evaluated(predictor, short), rtol=1e-5)
    assert result.duration == pytest.approx(2.0) and result.ends.tolist() == [result.duration]
    assert [name for name, _ in result.top()] == [
        ["jump", "run", "walk"][i] for i in np.argsort(-result.scores)
    ]
    assert np.ptp(result.scores) > 0.01  # the comparison means something


def test_each_window_of_a_long_video_scores_like_a_video_of_its_own(predictor, long):
    result = predictor.predict_video(long, window=4, every=3)
    np.testing.assert_allclose(result.starts, [0, 3, 6, 8], atol=0.1)
    np.testing.assert_allclose(result.ends, [4, 7, 10, 12], atol=0.1)
    for start, scores in zip(result.starts, result.window_scores, strict=True):
        expected = evaluated(predictor, long, start=float(start), end=float(start) + 4, views=2)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
    np.testing.assert_allclose(result.scores, result.window_scores.mean(axis=0))


def test_default_windows(predictor, long):
    assert predictor.window == 2  # two clips are 1.6 s
    assert len(predictor.predict_video(long).starts) == 11
    assert len(predictor.predict_video(long, window=20).starts) == 1


@pytest.mark.parametrize(
    ("duration", "starts"),
    [(12, [0, 3, 6, 8]), (10, [0, 3, 6]), (10.5, [0, 3, 6, 6.5]), (4.5, [0, 0.5]), (4, [0]), (2, [0])],
)
def test_windows_reach_the_end(duration, starts):
    np.testing.assert_allclose(window_starts(duration, 4, 3), starts)


def test_no_window_twice_for_rounding():
    np.testing.assert_allclose(window_starts(0.4, 0.1, 0.1), [0, 0.1, 0.2, 0.3])


def test_segments_and_scores_at():
    scores = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]], np.float32)
    result = VideoClasses(
        "a", 64, 48, {0: "fight", 1: "other"}, np.arange(3.0), np.arange(3) + 2.0, scores, 4.0
    )
    first, second = result.segments()
    assert (first.action, first.start, first.end) == (0, 0.0, 2.5)  # middles 1, 2, 3; 0.45 is kept
    assert (second.action, second.start, second.end) == (1, 1.5, 4.0)
    assert second.score == pytest.approx(0.675)
    np.testing.assert_array_equal(result.scores_at(1.8), scores[1])


def test_files(predictor, short, tmp_path):
    result = predictor.predict_video(short)
    outputs = Outputs(*(tmp_path / name for name in ("a.mp4", "a.json", "a.csv")), sheet=tmp_path / "a.png")
    write_class_outputs(result, short, outputs)
    again = VideoClasses.from_json(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["windows"][0]["scores"] == content["scores"] == [float(f"{s:.6g}") for s in result.scores]
    np.testing.assert_allclose(again.window_scores, result.window_scores, atol=1e-6)
    assert again.class_names == result.class_names and again.model == result.model
    header, row = csv.reader((tmp_path / "a.csv").read_text().splitlines())
    assert header == ["video", "start", "end", "jump", "run", "walk"] and row[:3] == [
        "short",
        "0.000",
        "2.000",
    ]
    image = cv2.imread(str(tmp_path / "a.png"))
    assert image.shape[1] > 500 and image.std() > 10
    with open_video(tmp_path / "a.mp4") as video:
        assert video.info.num_frames == 50
        frame = video.frames_at_indices([40])[0]
    assert frame[-2, 10, 0] > 200 > 100 > frame[-2, 10, 2]  # orange: 80 % of the video are over


def test_mistakes(predictor, short, tmp_path, checkpoint):
    with pytest.raises(UserError, match="both must be above 0"):
        predictor.predict_video(short, window=-1)
    with pytest.raises(UserError, match="there is no COCO file"):
        write_class_outputs(predictor.predict_video(short), short, Outputs(coco=tmp_path / "a.json"))
    with pytest.raises(UserError, match="none does not exist, and the model zoo has no such name"):
        load_predictor("none")
    (tmp_path / "a.json").write_text('{"format": "other"}')
    with pytest.raises(UserError, match="its 'format' is not"):
        VideoClasses.from_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="TASK detection; classes of videos need"):
        ClassPredictor(get_cfg())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": []}, "it has no windows"),
        ({"windows": [{"start": 0, "end": 1, "scores": [0.5, 7]}]}, "a score is not a number from 0 to 1"),
        ({"windows": [{"start": 0, "end": 1, "scores": [0.5]}]}, "cannot reshape"),
        ({"windows": [{"start": 2, "end": 1, "scores": [0.5, 0.5]}]}, "one ends before it starts"),
        (
            {"windows": [{"start": s, "end": 5, "scores": [0.5, 0.5]} for s in (2, 1)]},
            "not in ascending order",
        ),
        ({"windows": [{"start": 0, "end": float("inf"), "scores": [0.5, 0.5]}]}, "end of a window is inf"),
        ({"duration": float("nan")}, "its duration is nan"),
        ({"width": 0}, "its frames are 0x48"),
        ({"classes": [{"id": 1, "name": "a"}] * 2}, "a class id is there twice"),
        ({"classes": [{"id": -1, "name": "a"}, {"id": 0, "name": "b"}]}, "or below 0"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path, change, message):
    result = VideoClasses(
        "a", 64, 48, {0: "fight", 1: "other"}, np.zeros(1), np.ones(1), np.full((1, 2), 0.5, np.float32), 1.0
    )
    (tmp_path / "a.json").write_text(json.dumps(result.to_dict() | change))
    with pytest.raises(UserError, match=message):
        VideoClasses.from_json(tmp_path / "a.json")
