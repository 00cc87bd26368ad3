"""Person detectors as ONNX files: boxes in the image, or a refusal. The library that runs them must not crash."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modist_det.inference import Picture, build_person_detector
from modist_det.inference.results import PersonBoxes

from .kinds import accepted, expect
from .mutate import mutate_bytes

__all__ = ["detector", "red_finder"]

_SIZE = 416


@cache
def red_finder() -> bytes:
    """A network with YOLOX's interface that "finds" what is red: a cell's score is the mean red of its pixels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    pick = np.zeros((6, 3, 1, 1), np.float32)
    pick[4, 2] = 1 / 255  # channels are BGR
    bias = np.array(
        [0.5, 0.5, 0, 0, 0, 1], np.float32
    )  # the cell's centre, one stride wide, certainly a person
    constants = [numpy_helper.from_array(pick, "pick"), numpy_helper.from_array(bias, "bias")]
    nodes, outputs = [], []
    for stride in (8, 16, 32):
        pool = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes.append(helper.make_node("AveragePool", ["images"], [f"p{stride}"], **pool))
        nodes.append(helper.make_node("Conv", [f"p{stride}", "pick", "bias"], [f"c{stride}"]))
        constants.append(numpy_helper.from_array(np.array([1, 6, (_SIZE // stride) ** 2]), f"s{stride}"))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"]))
        outputs.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", outputs, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]))
    cells = sum((_SIZE // stride) ** 2 for stride in (8, 16, 32))
    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])]
    wanted = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 6])]
    graph = helper.make_graph(nodes, "red", given, wanted, constants)
    opset = [helper.make_opsetid("", 13)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@cache
def _networks() -> dict[str, bytes]:
    """The red finder, and the published detectors that are on this machine."""
    folders = [Path(__file__).resolve().parents[3] / "shared" / "data" / "models"]
    if "MODIST_MODELS" in os.environ:
        folders.insert(0, Path(os.environ["MODIST_MODELS"]))
    files = {"FastestDet": "FastestDet.onnx", "YOLOX": "yolox_nano.onnx"}
    found = {
        family: folder / file
        for folder in folders
        for family, file in files.items()
        if (folder / file).is_file()
    }
    return {"red": red_finder()} | {family: path.read_bytes() for family, path in found.items()}


def _mutate_graph(rng: np.random.Generator, data: bytes) -> bytes:
    """A file that is a valid message but an odd network."""
    import onnx

    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(1 + int(rng.geometric(0.5))):
        node = graph.node[int(rng.integers(len(graph.node)))]
        number = int(rng.choice([-1, 0, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**62]))
        way = rng.choice(
            ["attribute", "type", "input", "drop", "tensor", "dims", "raw", "shape", "cycle", "output"]
        )
        if way == "attribute" and node.attribute:
            attribute = node.attribute[int(rng.integers(len(node.attribute)))]
            if attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = number
            else:
                attribute.i, attribute.f = number, float(number)
        elif way == "type":
            node.op_type = str(
                rng.choice(
                    ["Conv", "Add", "Resize", "Reshape", "Loop", "Slice", "Expand", "Gather", "Split", ""]
                )
            )
        elif way == "input" and node.input:
            names = [name for other in graph.node for name in (*other.input, *other.output)]
            node.input[int(rng.integers(len(node.input)))] = str(rng.choice([*names, "", "nothing"]))
        elif way == "drop" and len(graph.node) > 1:
            del graph.node[int(rng.integers(len(graph.node)))]
        elif way in ("tensor", "dims", "raw") and graph.initializer:
            tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
            if way == "tensor":
                tensor.data_type = int(rng.choice([0, 1, 2, 7, 8, 10, 16, 99]))
            elif way == "dims" and tensor.dims:
                tensor.dims[int(rng.integers(len(tensor.dims)))] = number
            else:
                tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
        elif way == "shape" and graph.input[0].type.tensor_type.shape.dim:
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[int(rng.integers(len(dims)))].dim_value = number
        elif way == "cycle" and node.input and node.output:
            node.input[0] = node.output[0]
        elif way == "output" and graph.output:
            graph.output[0].name = str(rng.choice([*node.output, "nothing", ""]))
    return model.SerializeToString()


def _image() -> NDArray[np.uint8]:
    image = np.zeros((200, 150, 3), np.uint8)
    image[100:150, 25:75, 0] = 255
    return image


def detector(rng: np.random.Generator, folder: Path) -> None:
    """Whole networks find what they should; of damaged ones every box is a box, or the file is refused."""
    networks = _networks()
    family = str(rng.choice(list(networks)))
    data = networks[family]
    whole = rng.random() < 0.1
    if not whole:
        data = _mutate_graph(rng, data) if rng.random() < 0.6 else mutate_bytes(rng, data)
    path = folder / str(rng.choice(["net.onnx", f"{family.lower()}.onnx"]))
    path.write_bytes(data)
    if whole:
        with accepted(f"a whole network ({family})"):
            options = {"min_score": 0.95, "max_iou": 1.0} if family == "red" else {}
            (people,) = build_person_detector(str(path), **options)([Picture(_image())])
        _check_boxes(people)
        if family == "red":
            assert people is not None
            expect(len(people) > 50, f"{len(people)} boxes on the red square")
            edges = [*people.boxes[:, :2].min(axis=0), *people.boxes[:, 2:].max(axis=0)]
            expect(np.allclose(edges, [25 / 150, 0.5, 0.5, 0.75], atol=0.04), f"the red square is at {edges}")
        return
    (people,) = build_person_detector(str(path))([Picture(_image())])
    _check_boxes(people)


def _check_boxes(people: PersonBoxes | None) -> None:
    expect(people is not None, "no answer")
    assert people is not None
    expect(
        np.isfinite(people.boxes).all() and np.isfinite(people.scores).all(), "boxes or scores are not finite"
    )
    expect(((people.boxes >= 0) & (people.boxes <= 1)).all(), "a box is outside of the image")
    expect((people.boxes[:, 2:] > people.boxes[:, :2]).all(), "a box without area")
    expect(len(people.boxes) == len(people.scores), "boxes without score")
