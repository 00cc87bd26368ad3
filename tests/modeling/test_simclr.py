"""SimCLR: NT-Xent and its terms against an independent computation; gradients of several processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modist_det.modeling.losses.nt_xent import nt_xent
from tests.modeling.tiny_methods import tiny_batch, tiny_method


def plain_nt_xent(first, second, temperature):
    """The formula, row by row, in Python's floats."""
    rows = np.concatenate([first.detach().double().numpy(), second.detach().double().numpy()])
    count = len(rows)
    total = 0.0
    for i in range(count):
        other = (i + count // 2) % count
        every = sum(math.exp(rows[i] @ rows[k] / temperature) for k in range(count) if k != i)
        total -= math.log(math.exp(rows[i] @ rows[other] / temperature) / every)
    return total / count


def directions(size, dim, seed):
    return F.normalize(torch.randn(size, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_loss_against_its_formula(size):
    first, second = directions(size, 4, 0), directions(size, 4, 1)
    term = nt_xent(first, second, 0.2)
    assert term.loss.item() == pytest.approx(plain_nt_xent(first, second, 0.2), rel=1e-5)
    assert term.positive_similarity.item() == pytest.approx((first * second).sum(dim=1).mean().item())


def test_accuracy_counts_rows_nearest_to_their_other_view():
    first = torch.eye(3)
    assert nt_xent(first, first, 0.1).accuracy == 1.0
    swapped = first[[1, 0, 2]]  # only the third sample's views meet
    assert nt_xent(first, swapped, 0.1).accuracy == pytest.approx(1 / 3)


def test_gradient_flows_through_both_views():
    first, second = directions(3, 4, 0).requires_grad_(), directions(3, 4, 1).requires_grad_()
    nt_xent(first, second, 0.5).loss.backward()
    assert first.grad.abs().sum() > 0 and second.grad.abs().sum() > 0


@pytest.mark.parametrize("same_time", [False, True])
def test_terms_against_their_definition(same_time):
    model = tiny_method("SimCLR", CROSS_WEIGHT=0.5, MOTION_WEIGHT=2.0, SAME_TIME=same_time, TEMPERATURE=0.3)
    batch = tiny_batch(size=3)
    clips = {"visual": batch["video"], "motion": batch["motion"].expand(-1, -1, 3, -1, -1, -1)}
    numbers = model(batch)

    def view(modality, clip):
        return model.query[modality](model.normalizer[modality](clips[modality][:, clip]))

    # (clip of the first view, clip of the second) of each term
    pairs = {
        "visual_visual": (0, 1),
        "visual_motion": (0, 1),
        "motion_visual": (0, 1),
        "motion_motion": (0, 1),
    }
    if same_time:
        pairs |= {"visual_motion": (0, 0), "motion_visual": (1, 1), "motion_motion": (1, 0)}
    weights = {"visual_visual": 1.0, "visual_motion": 0.5, "motion_visual": 0.5, "motion_motion": 2.0}
    for name, (i, j) in pairs.items():
        first, second = name.split("_")
        expected = plain_nt_xent(view(first, i), view(second, j), 0.3)
        assert numbers[f"loss_{name}"].item() == pytest.approx(weights[name] * expected, rel=1e-4)


def test_rgb_alone_needs_no_motion():
    model = tiny_method("SimCLR")
    assert list(model.query) == ["visual"]
    batch = tiny_batch()
    del batch["motion"]
    assert {name for name in model(batch) if name.startswith("loss")} == {"loss_visual_visual"}
    assert not any(name.startswith(("key", "queue")) for name in model.state_dict())
