from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from modist_det.inference import Picture, build_person_detector
from modist_det.inference.persons import Precomputed
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
    with pytest.raises(UserError, match="no boxes of video 'other', .*; its videos: 'v', 'w'$"):
        at(detector, 1.0, "other")


def test_keyframes_without_anybody(tmp_path):
    (tmp_path / "boxes.csv").write_text("v,0901\nv,0902\n")
    detector = build_person_detector(str(tmp_path / "boxes.csv"), first_second=900)
    assert len(at(detector, 2.0)) == 0 and at(detector, 3.0) is None and detector.spacing == 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 10**12, "people": []},
        {"num_frames": 1e400},
        {"fps": 0},
        {"width": 10**400},
        {"people": 3},
        {"people": [{"boxes": [None]}]},
        {"video": []},
    ],
)
def test_tracks_of_another_form(tmp_path, changes):
    video = {
        "video": "v",
        "num_frames": 2,
        "fps": 25,
        "width": 8,
        "height": 6,
        "people": [{"boxes": [None] * 2}],
    }
    path = tmp_path / "tracks_x.json"
    path.write_text(json.dumps({"classes": [], "videos": [video]}))
    assert len(at(build_person_detector(str(path)), 0.04)) == 0
    path.write_text(json.dumps({"classes": [], "videos": [video | changes]}))
    with pytest.raises(UserError, match="is not a tracks file"):
        build_person_detector(str(path))


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
    with pytest.raises(UserError, match="none.csv does not exist"):
        build_person_detector(str(tmp_path / "none.csv"))
    video = {
        "video": "v",
        "width": 64,
        "height": 48,
        "fps": 10,
        "num_frames": 9,
        "people": [{"boxes": [None]}],
    }
    (tmp_path / "t.json").write_text(json.dumps({"classes": {}, "videos": [video]}))
    with pytest.raises(UserError, match="not a tracks file of prepare_puppets.py"):
        build_person_detector(str(tmp_path / "t.json"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"min_score": "high"},
            "option min_score of person detector Precomputed is 'high', but must be a number",
        ),
        (
            {"tolerance": True},
            "option tolerance of person detector Precomputed is True, but must be a number",
        ),
        ({"min_scor": 0.5}, "no option 'min_scor'; did you mean 'min_score'"),
    ],
)
def test_options_of_other_kinds(tmp_path, options, reason):
    (tmp_path / "b.csv").write_text("v,1,0.1,0.1,0.5,0.9,,0.5\n")
    with pytest.raises(UserError, match=reason):
        build_person_detector(str(tmp_path / "b.csv"), **options)


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
    np.testing.assert_allclose(people.boxes, again.boxes, atol=1e-5)

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


_TINY = """\
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  MASK_ON: False
  BACKBONE: {NAME: build_resnet_fpn_backbone}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[8], [16], [24], [32], [48]]}
  RPN: {IN_FEATURES: [p2, p3, p4, p5, p6], POST_NMS_TOPK_TEST: 20}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [p2, p3, p4, p5], NUM_CLASSES: 2}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 7}
INPUT: {MIN_SIZE_TEST: 0}
"""


@pytest.fixture
def tiny_detectron2(tmp_path):
    """A config file, and its model with random weights, written into a file beside it."""
    pytest.importorskip("detectron2.model_zoo", reason="detectron2 is not installed (INSTALL.md)")
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    (tmp_path / "tiny.yaml").write_text(_TINY)
    cfg = get_cfg()
    cfg.merge_from_file(str(tmp_path / "tiny.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = "cpu", 0.0
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    return tmp_path, model


@pytest.mark.detectron2
def test_detectron2_detector(tiny_detectron2):
    """Against a direct call of the model on the picture, which it wants in BGR: class 0 alone, in [0, 1]."""
    folder, model = tiny_detectron2
    options = {"config": str(folder / "tiny.yaml"), "weights": str(folder / "weights.pth"), "device": "cpu"}
    detector = build_person_detector("Detectron2", min_score=0.0, **options)
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    (people,) = detector([Picture(image)])
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
    with torch.no_grad():
        found = model([{"image": bgr, "height": 96, "width": 128}])[0]["instances"]
    chosen = found.pred_classes == 0
    assert chosen.any() and not chosen.all()
    np.testing.assert_allclose(
        people.boxes, (found.pred_boxes.tensor[chosen].numpy() / [128, 96, 128, 96]).clip(0, 1), atol=1e-5
    )
    np.testing.assert_allclose(people.scores, found.scores[chosen].numpy(), atol=1e-5)
    (few,) = build_person_detector("Detectron2", min_score=float(people.scores.max()) - 1e-4, **options)(
        [Picture(image)]
    )
    assert 0 < len(few) < len(people)


@pytest.mark.detectron2
def test_detectron2_mistakes(tiny_detectron2):
    folder, _ = tiny_detectron2
    with pytest.raises(UserError, match="COCO-Detection/none.yaml"):
        build_person_detector("Detectron2", config="COCO-Detection/none.yaml")
    with pytest.raises(UserError, match=r"there is no weights file .*none.pth"):
        build_person_detector("Detectron2", weights=str(folder / "none.pth"))
    with pytest.raises(UserError, match=r"tiny.yaml names no weights; give them with the option weights"):
        build_person_detector("Detectron2", config=str(folder / "tiny.yaml"))


def test_without_detectron2():
    try:
        import detectron2  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"needs detectron2 .*INSTALL.md"):
            build_person_detector("Detectron2")
    else:
        pytest.skip("detectron2 is installed")


def test_boxes_of_which_none_is_of_use(tmp_path):
    """A score that no box reaches is an error; seconds that no frame has are told after the run."""
    path = tmp_path / "boxes.csv"
    path.write_text("v,0902,0.1,0.2,0.3,0.4,,0.4\nv,0903,0.1,0.2,0.3,0.4,,0.3\n")
    with pytest.raises(UserError, match=r"boxes.csv reaches min_score 0.5 \(2 boxes, best 0.4\)"):
        build_person_detector(str(path), min_score=0.5)
    detector = build_person_detector(str(path))
    assert at(detector, 0.0) is None and at(detector, 3.0) is None
    assert "0 to 3 s) matches one of its 2 keyframes (after first_second: 902 to 903 s)" in detector.remark(
        "v"
    )
    detector = build_person_detector(str(path), first_second=900)
    assert at(detector, 2.0) is not None and at(detector, 9.0) is None
    assert detector.remark("v") == "" and detector.remark("other") == ""


def test_the_suffix_of_a_file_may_be_in_capitals(tmp_path):
    (tmp_path / "BOXES.CSV").write_text("a,1,0.1,0.1,0.5,0.9,,0.8\n")
    assert isinstance(build_person_detector(str(tmp_path / "BOXES.CSV")), Precomputed)
