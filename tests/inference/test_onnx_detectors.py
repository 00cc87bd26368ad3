from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.ops import nms

from modist_det.formats.ava.files import read_ava_boxes
from modist_det.inference import Picture, build_person_detector
from modist_det.inference.persons import non_maximum_suppression
from modist_det.inference.persons.onnx import decode_fastestdet, decode_yolox
from modist_det.structures.boxes import iou_matrix
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video


def test_fastestdet_decoding_cell_by_cell():
    rng = np.random.default_rng(0)
    output = rng.normal(size=(5 + 3, 4, 6)).astype(np.float32)
    output[[0, 5, 6, 7]] = rng.uniform(0, 1, (4, 4, 6))
    boxes, scores = decode_fastestdet(output)
    for row in range(4):
        for column in range(6):
            objectness, dx, dy, w, h, person = output[:6, row, column].tolist()
            x, y = (column + math.tanh(dx)) / 6, (row + math.tanh(dy)) / 4
            w, h = 1 / (1 + math.exp(-w)), 1 / (1 + math.exp(-h))
            i = row * 6 + column
            np.testing.assert_allclose(boxes[i], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-4)
            assert scores[i] == pytest.approx(objectness**0.6 * person**0.4, rel=1e-5)


def slow_yolox(output: np.ndarray, size: int) -> list[tuple[float, ...]]:
    """Row by row: x1, y1, x2, y2, score."""
    found, i = [], 0
    for stride in (8, 16, 32):
        for row in range(size // stride):
            for column in range(size // stride):
                x, y, w, h, objectness, person = output[i, :6].tolist()
                x, y = (x + column) * stride, (y + row) * stride
                w, h = math.exp(w) * stride, math.exp(h) * stride
                found.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2, objectness * person))
                i += 1
    assert i == len(output)
    return found


def test_yolox_decoding_row_by_row():
    output = np.random.default_rng(1).uniform(0, 1, (8 * 8 + 4 * 4 + 2 * 2, 5 + 80)).astype(np.float32)
    boxes, scores = decode_yolox(output, 64)
    expected = np.array(slow_yolox(output, 64))
    np.testing.assert_allclose(boxes, expected[:, :4], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores, expected[:, 4], rtol=1e-5)


def test_suppression_is_torchvisions():
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, 1, (200, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0.05, 0.5, (200, 2))]).astype(np.float32)
    scores = rng.uniform(size=200).astype(np.float32)
    for limit in (0.3, 0.5, 0.9):
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), limit).tolist()
        assert non_maximum_suppression(boxes, scores, limit).tolist() == expected
    assert non_maximum_suppression(boxes[:0], scores[:0], 0.5).tolist() == []


def test_a_box_inside_a_better_one_goes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.4], [0.5, 0.5, 1.4, 1.4], [0, 0, 2, 2]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [0, 1, 2, 3]
    # Only what lies in a better one; a larger, worse box around it stays.
    assert non_maximum_suppression(boxes, scores, 0.5, max_inside=0.9).tolist() == [0, 2, 3]


@pytest.fixture(scope="module")
def tiny_yolox(tmp_path_factory):
    """An ONNX file with YOLOX's interface at 416 pixels.

    Its objectness of a cell is the mean red of the cell's pixels, over 255: it "finds" what is red.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install onnx)")
    from onnx import TensorProto, helper

    nodes, outputs, constants = [], [], []
    pick = np.zeros((6, 3, 1, 1), np.float32)
    pick[4, 2] = 1 / 255  # channels are BGR
    constants.append(onnx.numpy_helper.from_array(pick, "pick"))
    bias = np.array(
        [0.5, 0.5, 0, 0, 0, 1], np.float32
    )  # centre of the cell, one stride wide, certainly a person
    constants.append(onnx.numpy_helper.from_array(bias, "bias"))
    for stride in (8, 16, 32):
        nodes.append(
            helper.make_node(
                "AveragePool", ["images"], [f"p{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        nodes.append(helper.make_node("Conv", [f"p{stride}", "pick", "bias"], [f"c{stride}"]))
        count = (416 // stride) ** 2
        constants.append(onnx.numpy_helper.from_array(np.array([1, 6, count]), f"s{stride}"))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"]))
        outputs.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", outputs, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]))
    cells = sum((416 // stride) ** 2 for stride in (8, 16, 32))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 416, 416])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 6])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path_factory.mktemp("onnx") / "tiny_yolox.onnx"
    onnx.save(model, str(path))
    return path


def test_yolox_finds_the_red_square(tiny_yolox):
    """A red square of 100 pixels in a portrait picture: its place has to come back through the letterbox."""
    image = np.zeros((400, 300, 3), np.uint8)
    image[200:300, 50:150, 0] = 255
    image[:, 200:, 2] = 255  # blue means nothing
    detector = build_person_detector(str(tiny_yolox), min_score=0.95, max_iou=1.0)
    assert type(detector).__name__ == "YOLOX" and detector.size == 416
    (people,) = detector([Picture(image)])
    assert len(people) > 50
    assert people.boxes[:, 0].min() == pytest.approx(50 / 300, abs=0.02)
    assert people.boxes[:, 2].max() == pytest.approx(150 / 300, abs=0.02)
    assert people.boxes[:, 1].min() == pytest.approx(200 / 400, abs=0.02)
    assert people.boxes[:, 3].max() == pytest.approx(300 / 400, abs=0.02)


def test_mirrored_and_tiled_views_find_the_same_place(tiny_yolox):
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:200, 40:140, 0] = 255
    for options in ({"mirror": True}, {"tiles": 2}, {"mirror": True, "tiles": 3}):
        detector = build_person_detector(str(tiny_yolox), min_score=0.95, max_iou=1.0, **options)
        (people,) = detector([Picture(image)])
        assert people.boxes[:, 0].min() == pytest.approx(40 / 400, abs=0.03)
        assert people.boxes[:, 2].max() == pytest.approx(140 / 400, abs=0.03)


def test_yolox_of_another_kind_is_refused(tiny_yolox):
    with pytest.raises(UserError, match="does not take images of 640x640|gives an output of shape"):
        build_person_detector("YOLOX", path=tiny_yolox, size=640)([Picture(np.zeros((9, 9, 3), np.uint8))])
    with pytest.raises(UserError, match="FastestDet family|FastestDet's"):
        build_person_detector("FastestDet", path=tiny_yolox)([Picture(np.zeros((9, 9, 3), np.uint8))])


def test_files_that_are_no_networks(tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_bytes(b"not a network")
    for path in (tmp_path / "x.onnx", tmp_path / "fastestdet_none.onnx"):
        with pytest.raises(UserError, match="cannot read|there is no file"):
            build_person_detector(str(path))
    monkeypatch.setenv("MODIST_MODELS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no file FastestDet.onnx in .*download"):
        build_person_detector("FastestDet")


def test_names_and_options():
    with pytest.raises(UserError, match="did you mean 'FastestDet'"):
        build_person_detector("FastestDent")
    with pytest.raises(UserError, match="no option 'tyles'; did you mean 'tiles'"):
        build_person_detector("FastestDet", tyles=2)
    with pytest.raises(UserError, match="needs the option path"):
        build_person_detector("Precomputed")


def test_fastestdet_on_real_clips(real_data):
    """Recall at IoU 0.5 on UCF101-24's keyframes: better than 0.60, which its author's settings give there."""
    truth = read_ava_boxes(real_data / "ucf101_24" / "gt_ava_format.csv")
    recalls = {}
    for tiles in (1, 2):
        detector = build_person_detector(str(real_data / "models" / "FastestDet.onnx"), tiles=tiles)
        hits = people = boxes = 0
        for number, video in enumerate(truth.videos):
            (path,) = [*real_data.glob(f"ucf101/{video}.*"), *real_data.glob(f"ucf101_24/videos/{video}.*")]
            rows = truth.video == number
            seconds = np.unique(truth.second[rows])
            with open_video(path) as film:
                frames = film.frames_at_times(seconds)
            for second, frame in zip(seconds, frames, strict=True):
                wanted = np.unique(truth.boxes[rows & (truth.second == second)], axis=0)
                (found,) = detector([Picture(frame)])
                assert ((found.boxes >= 0) & (found.boxes <= 1)).all()
                boxes += len(found)
                people += len(wanted)
                hits += int((iou_matrix(wanted, found.boxes) >= 0.5).any(axis=1).sum()) if len(found) else 0
        recalls[tiles] = hits / people
    assert recalls[1] >= 0.68
    assert recalls[2] >= 0.74
