"""Every number that the original evaluators gave for the reference files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modist_det.evaluation import frame_map, link_detections, video_map

PROTOCOLS = {"act": "act", "mmaction": "multisports", "yowo": "yowo"}
TOLERANCE = {"act": 1e-4, "mmaction": 1e-4, "yowo": 2e-4}


@pytest.fixture(scope="module")
def read(real_data):
    def read(name: str):
        path = real_data / "reference" / "tubes" / name
        if not path.is_file():
            pytest.skip(f"no file {path}")
        return json.loads(path.read_text())

    return read


def check(got, wanted, tolerance: float) -> None:
    assert list(got) == list(wanted)
    for threshold, expected in wanted.items():
        assert got[threshold]["mean"] == pytest.approx(expected["mean"], abs=tolerance)
        for name in expected.keys() - {"mean"}:
            assert got[threshold][name] == pytest.approx(expected[name], abs=tolerance)


def check_tubes(got, wanted) -> None:
    def key(tube):
        return tube["video"], tube["class"], tube["frames"][0], tube["frames"][-1], round(tube["score"], 5)

    assert len(got) == len(wanted)
    for tube, expected in zip(sorted(got, key=key), sorted(wanted, key=key), strict=True):
        assert key(tube)[:4] == key(expected)[:4]
        assert tube["score"] == pytest.approx(expected["score"], abs=1e-5)
        ends = np.array([expected["first_box"], expected["last_box"]])
        np.testing.assert_allclose(tube["boxes"][[0, -1]], ends, atol=1e-3)


def test_given_boxes_and_tubes(read):
    data = read("metrics_tubes.json")
    for name, expected in data["results"].items():
        system = name.split("_")[0]
        protocol, tolerance = PROTOCOLS[system], TOLERANCE[system]
        if "_frame_" in name:
            found = frame_map(data["ground_truth"], data["frame_detections"], protocol, list(expected))
            check(found, expected, tolerance)
        elif isinstance(expected, dict):
            found = video_map(data["ground_truth"], data["tube_detections"], protocol, list(expected))
            check(found, expected, tolerance)
        else:
            found = video_map(data["ground_truth"], data["tube_detections"], protocol, "0.5:0.95")
            assert found["0.5:0.95"]["mean"] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("kind", ["ucf", "jhmdb"])
def test_linked_boxes(read, kind):
    data = read(f"metrics_link_{kind}_like.json")
    truth, boxes, classes = data["ground_truth"], data["frame_boxes"], data["classes"]
    for name, expected in data["results"].items():
        system = name.split("_")[0]
        protocol, tolerance = PROTOCOLS[system], TOLERANCE[system]
        if "_frame_" in name:
            check(frame_map(truth, boxes, protocol, list(expected), classes), expected, tolerance)
            continue
        options = {"num_frames": data["videos"], "classes": classes}
        tubes = {"yowo": data["yowo_tubes"], "act": data["act_tubes_k1"]}.get(system)
        if system == "mmaction":
            tubes = data["mmaction_tubes"][name]
            options |= {"scores": name.split("_ap_")[1], "min_length": data["mmaction_len_thre"]}
        linked = link_detections(boxes, protocol, **options)
        check_tubes(linked, tubes)
        check(video_map(truth, linked, protocol, list(expected), classes), expected, tolerance)


def test_linked_tubelets(read):
    data = read("metrics_act_tubelets.json")
    tubes = link_detections(data["tubelets"], "act", classes=data["classes"])
    check_tubes(tubes, data["act_tubes"])
    expected = data["results"]["act_linked_k6_video_ap"]
    check(video_map(data["ground_truth"], tubes, "act", list(expected)), expected, 1e-4)
