"""Outputs of PySlowFast for weights that the test draws anew; see ``data/README.md``."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from modist_det.checkpoint import load_weights
from modist_det.modeling import (
    X3D,
    ClassificationHead,
    ResNet3D,
    SlowFast,
    VideoClassifier,
    X3DHead,
)
from modist_det.modeling.losses import cross_entropy

DATA = Path(__file__).parent / "data"
CLASSES = 10
NONLOCAL = ((), (1, 3), (1, 3, 5), ())


def seeded_tensors(shapes: dict[str, list[int]], clip_shape: list[int]) -> tuple[dict[str, Tensor], Tensor]:
    """A state dict and a clip, drawn from numpy's frozen generator in the order of the sorted names."""
    rng = np.random.RandomState(0)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            values = np.zeros(shape)
        elif name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("weight") and len(shape) == 1:
            values = rng.uniform(0.5, 1.0, shape)
        elif len(shape) == 1:
            values = 0.2 * rng.standard_normal(shape)
        else:
            values = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
            # Keeps the products of dot-product attention from growing from block to block.
            values *= 0.01 if "conv_phi" in name else 1.0
        state[name] = torch.from_numpy(np.asarray(values)).to(
            torch.int64 if name.endswith("tracked") else torch.float32
        )
    clips = [scale * rng.standard_normal(clip_shape[1:]) for scale in (0.5, 1.0)]
    return state, torch.from_numpy(np.stack(clips)).float()


def _network(case: str) -> tuple:
    if case.startswith("x3d"):
        backbone = X3D()
        return backbone, X3DHead(backbone.out_channels, backbone.inner_channels, 2048, CLASSES, window=2)
    if case == "i3d_nln_r50_w8":
        backbone = ResNet3D.preset("i3d_nonlocal", width=8)
    else:
        backbone = SlowFast(width=16, fusion_kernel=5, nonlocal_blocks=NONLOCAL)
    return backbone, ClassificationHead(backbone.out_channels, CLASSES, window=2)


@pytest.mark.parametrize("case", ["i3d_nln_r50_w8", "slowfast_nln_8x8_r50_w16", "x3d_xs"])
def test_output_of_pyslowfast(case, tmp_path):
    reference = torch.load(DATA / f"{case}.pt", weights_only=True)
    state, clip = seeded_tensors(reference["shapes"], reference["clip_shape"])
    torch.save({"model_state": state}, tmp_path / "model.pyth")
    model = VideoClassifier(*_network(case), cross_entropy, [0.45] * 3, [0.225] * 3).eval()
    report = load_weights(model, tmp_path / "model.pyth")
    assert report.format == "pyslowfast"
    assert (report.missing, report.unexpected, report.mismatched, report.dropped) == ([], [], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    with torch.no_grad():
        scores = torch.stack([prediction["scores"] for prediction in model({"video": clip})])
    torch.testing.assert_close(scores, reference["scores"], rtol=0, atol=1e-5)
    torch.testing.assert_close(scores.log(), reference["scores"].log(), rtol=0, atol=1e-4)
    # The two clips differ, and so do the classes: the comparison above is of something.
    assert (scores[0] - scores[1]).abs().max() > 1e-4
    assert scores.max() / scores.min() > 1.1
