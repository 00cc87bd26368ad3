"""Networks of strangers: both libraries give the same numbers, and no file takes the process with it."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.inference import Picture, build_person_detector
from modist_det.inference.persons import onnx as detectors
from modist_det.inference.persons.onnx_network import NetworkError, library, load_network
from modist_det.utils.errors import UserError

onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install onnx)")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def _save(path, nodes, constants):
    given = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, None, None])
    wanted = helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, None)
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", [given], [wanted], arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.fixture
def fills_memory(tmp_path):
    """Some hundred bytes; one image becomes 3600 million numbers."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Expand", ["mean", "shape"], ["output"]),
    ]
    return _save(tmp_path / "memory.onnx", nodes, {"shape": np.array([400, 1, 3000, 3000])})


@pytest.fixture
def never_ends(tmp_path):
    """A loop of 10^12 rounds."""
    info = helper.make_tensor_value_info
    number, truth = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Add", ["x", "x"], ["y"])],
        "body",
        [info("i", onnx.TensorProto.INT64, []), info("go", truth, []), info("x", number, None)],
        [info("goes", truth, []), info("y", number, None)],
    )
    node = helper.make_node("Loop", ["rounds", "yes", "images"], ["output"], body=body)
    return _save(tmp_path / "loop.onnx", [node], {"rounds": np.array(10**12), "yes": np.array(True)})


@pytest.fixture
def detector_files(real_data):
    return {352: real_data / "models/FastestDet.onnx", 416: real_data / "models/yolox_nano.onnx"}


def test_both_libraries_give_the_same(detector_files):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for size, path in detector_files.items():
        blob = np.random.default_rng(0).uniform(0, 1, (1, 3, size, size)).astype(np.float32)
        outputs = [load_network(path, name)(blob) for name in ("onnxruntime", "OpenCV")]
        assert outputs[0].shape == outputs[1].shape and outputs[0].dtype == np.float32
        np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)


@pytest.mark.parametrize("name", ["onnxruntime", "OpenCV"])
def test_whole_detectors_pass(detector_files, monkeypatch, name):
    if name == "onnxruntime":
        pytest.importorskip(name, reason="onnxruntime is not installed")
    monkeypatch.setattr(detectors, "library", lambda: name)
    for size, path in detector_files.items():
        detector = build_person_detector(str(path))
        assert len(detector([Picture(np.zeros((size, size, 3), np.uint8))])) == 1


def test_memory_and_time_are_bounded(fills_memory, never_ends, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setattr("modist_det.inference.persons.onnx_network._SECONDS", 2)
    for path in (fills_memory, never_ends):
        with pytest.raises(UserError, match=f"{path} is refused as a person detector: it takes more than"):
            build_person_detector(str(path))


def test_a_file_that_crashes_opencv(detector_files, tmp_path, monkeypatch):
    """One changed byte in the name of a convolution's weights: OpenCV divides by zero (SIGFPE)."""
    path = tmp_path / "net.onnx"
    path.write_bytes(detector_files[352].read_bytes().replace(b"onnx::Conv_781", b"\0nnx::Conv_781", 1))
    monkeypatch.setattr(detectors, "library", lambda: "OpenCV")
    with pytest.raises(UserError, match=r"net.onnx is refused .* crashes what runs it \(signal 8\)"):
        build_person_detector(str(path))
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setattr(detectors, "library", library)
    with pytest.raises(UserError, match="onnxruntime cannot read .*net.onnx as ONNX"):
        build_person_detector(str(path))


def test_a_file_is_tried_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    node = helper.make_node("AveragePool", ["images"], ["output"], kernel_shape=[2, 2])
    path = _save(tmp_path / "fine.onnx", [node], {})
    detectors.read_network(path)
    assert len(list((tmp_path / "cache/tried_networks").iterdir())) == 1
    monkeypatch.setattr(detectors, "try_network", None)
    network = detectors.read_network(path)
    assert network(np.ones((1, 3, 9, 9), np.float32)).tolist() == np.ones((1, 3, 8, 8)).tolist()
    with pytest.raises(NetworkError):
        network(np.ones((2, 9), np.float32))
    path.write_bytes(path.read_bytes()[:-5])  # another file, so it is tried anew
    with pytest.raises(TypeError):
        detectors.read_network(path)
