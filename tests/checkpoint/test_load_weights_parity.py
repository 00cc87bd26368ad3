"""Outputs of PySlowFast and of the MoDist authors' code, from their own checkpoint files."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.modeling import (
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    SlowFast,
    VideoClassifier,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy

# Name of the file -> backbone. The crops are 64 pixels large, so a window of the map has 2 cells.
CASES = {
    "maclr_dense_slow_w8": lambda: ResNet3D.preset("dense_slow", width=8),
    "pyslowfast_slow_8x8_r50_w8": lambda: ResNet3D.preset("slow", width=8),
    "pyslowfast_slowfast_8x8_r50_w16": lambda: SlowFast(width=16),
    "pyslowfast_ava_slow_4x16_r50_w8": lambda: ResNet3D.preset("slow", width=8, dilate_res5=True),
    "pyslowfast_ava_slowfast_32x2_r50_w16": lambda: SlowFast(width=16, dilate_res5=True),
}
DROPPED = {"maclr_dense_slow_w8": ["queue"]}


@pytest.fixture(scope="module")
def reference(real_data):
    return real_data / "reference"


def test_every_reference_file_is_covered(reference):
    assert {path.stem for path in reference.glob("*.pyth")} == set(CASES)


@pytest.mark.parametrize("case", sorted(CASES))
def test_output(reference, case):
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    backbone, classes = CASES[case](), io["output"].shape[1]
    normalization = {"pixel_mean": [0.45] * 3, "pixel_std": [0.225] * 3}
    batch = {"video": io["clip"]}
    if "_ava_" in case:
        head = RoIActionHead(backbone.out_channels, classes, backbone.spatial_stride)
        model = ActionDetector(backbone, head, bce_with_logits, **normalization)
        boxes = io["boxes"]
        batch["boxes"] = [boxes[boxes[:, 0] == i, 1:] for i in range(len(io["clip"]))]
        assert boxes[:, 0].tolist() == sorted(boxes[:, 0].tolist())
    else:
        head = ClassificationHead(backbone.out_channels, classes, window=2)
        model = VideoClassifier(backbone, head, cross_entropy, **normalization)

    report = load_weights(model, reference / f"{case}.pyth")
    assert report.format == ("modist" if case.startswith("maclr") else "pyslowfast")
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert [name for name, _ in report.dropped] == DROPPED.get(case, [])

    with torch.no_grad():
        scores = torch.cat([prediction["scores"].view(-1, classes) for prediction in model.eval()(batch)])
    torch.testing.assert_close(scores, io["output"], rtol=0, atol=1e-4)
    # Softmax scores of hundreds of classes are all near 1e-3: compare their logarithms too.
    torch.testing.assert_close(scores.log(), io["output"].log(), rtol=0, atol=1e-4)
