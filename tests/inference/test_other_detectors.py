from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from modist_det.inference import Picture, build_person_detector
from modist_det.utils.cache import cached_path
from modist_det.utils.errors import UserError

EMPTY = np.zeros((60, 80, 3), np.uint8)


def at(detector, second: float, video: str = "v"):
    return detector([Picture(EMPTY, video, second)])[0]


def test_person_box_csv(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(
        "v,0901,0.1,0.2,0.3,0.4,,0.9\nv,0901,0.5,0.5,0.6,0.9,,0.2\nv,0902,0.1,0.2,0.3,0.4,,0.8\nw,0902\n"
    )
    detector = build_person_detector(str(path), first_second=900, min_score=0.5)
    np.testing.assert_allclose(at(detector, 1.0).boxes, [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(at(detector, 2.01).scores, [0.8])
    assert at(detector, 1.5) is None  # not known
    assert len(at(detector, 2.0, "w")) == 0  # nobody
    assert detector.spacing == 1.0
    with pytest.raises(UserError, match="no boxes of video 'other'"):
        at(detector, 1.0, "other")


def test_ground_truth_csv_has_one_box_a_person(tmp_path):
    path = tmp_path / "gt.csv"
    path.write_text("v,1,0.1,0.2,0.3,0.4,3,7\nv,1,0.1,0.2,0.3,0.4,5,7\nv,1,0.5,0.2,0.7,0.4,5,8\n")
    people = at(build_person_detector(str(path)), 1.0)
    np.testing.assert_allclose(people.boxes, [[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.7, 0.4]], rtol=1e-6)
    np.testing.assert_array_equal(people.scores, [1, 1])


def test_tracks_of_generated_people(tiny_puppets):
    tracks = json.loads((tiny_puppets / "tracks_val.json").read_text())
    video = tracks["videos"][0]
    people = at(
        build_person_detector(str(tiny_puppets / "tracks_val.json")), 12 / video["fps"], video["video"]
    )
    expected = [person["boxes"][12] for person in video["people"] if person["boxes"][12]]
    size = [video["width"], video["height"]] * 2
    np.testing.assert_allclose(people.boxes, np.clip(np.array(expected) / size, 0, 1), atol=1e-6)


def test_boxes_of_every_frame_are_found_at_any_second(tiny_puppets):
    """10 frames a second: 0.54 s is 0.04 s off the nearest one, which counts all the same."""
    path = tiny_puppets / "tracks_val.json"
    video = json.loads(path.read_text())["videos"][0]["video"]
    detector = build_person_detector(str(path))
    np.testing.assert_array_equal(at(detector, 0.54, video).boxes, at(detector, 0.5, video).boxes)
    for second in np.arange(0, 2.9, 0.031):
        assert at(detector, second, video) is not None
    assert at(detector, 3.5, video) is None  # after the end


def test_bad_files(tmp_path):
    (tmp_path / "x.csv").write_text("v,1,5,5,9,9,,0.5\n")
    with pytest.raises(UserError, match=r"x.csv:1: .*outside the image"):
        build_person_detector(str(tmp_path / "x.csv"))
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(UserError, match="not a result file"):
        build_person_detector(str(tmp_path / "x.json"))
    with pytest.raises(UserError, match="No such file"):
        build_person_detector(str(tmp_path / "none.csv"))


@pytest.fixture(scope="module")
def random_rcnn(tmp_path_factory):
    """The smallest of torchvision's, with random weights: every class scores about 1/91, persons a little more."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    model.roi_heads.box_predictor.cls_score.bias.data[1:3] += 1.0  # persons, and bicycles
    path = tmp_path_factory.mktemp("rcnn") / "weights.pth"
    torch.save(model.state_dict(), path)
    return path


def test_torchvision_faster_rcnn(random_rcnn):
    """Against a direct call of the model: class 1 alone, in [0, 1]."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    options = {"model": "mobilenet_320", "weights": str(random_rcnn), "min_score": 0.002, "min_size": 96}
    detector = build_person_detector("FasterRCNN", device="cpu", **options)
    people, again = detector([Picture(image), Picture(image)])
    np.testing.assert_array_equal(people.boxes, again.boxes)

    model = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, box_score_thresh=0.002, min_size=96
    )
    model.load_state_dict(torch.load(random_rcnn, weights_only=True))
    with torch.no_grad():
        (output,) = model.eval()([torch.from_numpy(image).permute(2, 0, 1) / 255])
    chosen = output["labels"] == 1
    assert chosen.any() and not chosen.all()
    expected = output["boxes"][chosen].numpy() / [120, 90, 120, 90]
    np.testing.assert_allclose(people.boxes, expected, atol=1e-5)
    np.testing.assert_allclose(people.scores, output["scores"][chosen].numpy(), rtol=1e-5)


def test_torchvision_mistakes(random_rcnn, tmp_path):
    with pytest.raises(UserError, match="no model 'mobilnet'; did you mean 'mobilenet'"):
        build_person_detector("FasterRCNN", model="mobilnet")
    with pytest.raises(
        UserError, match="torchvision's weights of fasterrcnn_mobilenet_v3_large_fpn are COCO_V1"
    ):
        build_person_detector("FasterRCNN", weights="COCO_V9")
    with pytest.raises(UserError, match="does not exist"):
        build_person_detector("FasterRCNN", weights=str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="does not fit fasterrcnn_resnet50_fpn"):
        build_person_detector("FasterRCNN", model="resnet50", weights=str(random_rcnn))


def test_torchvision_weights_by_name_come_from_the_cache(random_rcnn, tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path))
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    url = "https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"
    with pytest.raises(UserError, match=f"320_fpn/DEFAULT is not in the cache.*download {url}"):
        build_person_detector("FasterRCNN", model="mobilenet_320", device="cpu")
    cached_path(url).parent.mkdir(parents=True)
    shutil.copy(random_rcnn, cached_path(url))
    options = {"model": "mobilenet_320", "min_score": 0.002, "min_size": 96, "device": "cpu"}
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    found = build_person_detector("FasterRCNN", **options)([Picture(image)])[0]
    expected = build_person_detector("FasterRCNN", weights=str(random_rcnn), **options)([Picture(image)])[0]
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert len(found.scores)


@pytest.mark.detectron2
def test_detectron2_detector(tmp_path):
    """Random weights of a small config of the zoo, against its predictor called directly."""
    pytest.importorskip("detectron2", reason="detectron2 is not installed")
    from detectron2 import model_zoo

    config = "COCO-Detection/faster_rcnn_R_50_C4_1x.yaml"
    model = model_zoo.get(config, trained=False, device="cpu")
    weights = tmp_path / "weights.pth"
    torch.save({"model": model.state_dict()}, weights)
    detector = build_person_detector(
        "Detectron2", config=config, weights=str(weights), min_score=0.0, device="cpu"
    )
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    (people,) = detector([Picture(image)])
    found = detector._predictor(np.ascontiguousarray(image[..., ::-1]))["instances"]
    chosen = found.pred_classes == 0
    np.testing.assert_allclose(
        people.boxes, (found.pred_boxes.tensor[chosen].numpy() / [120, 90, 120, 90]).clip(0, 1), atol=1e-5
    )
    assert people.boxes.shape == (int(chosen.sum()), 4)


def test_without_detectron2():
    try:
        import detectron2  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="needs detectron2: pip install"):
            build_person_detector("Detectron2")
    else:
        pytest.skip("detectron2 is installed")
