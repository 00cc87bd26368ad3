"""BYOL: its loss and its terms against an independent computation, targets, collapse statistic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.modeling.losses.cosine_regression import cosine_regression
from modist_det.utils.errors import UserError
from tests.modeling.tiny_methods import tiny_batch, tiny_method


def numpy_distance(predicted, target):
    """2 - 2 cos of each row, in double precision."""
    p, z = (x.detach().double().numpy() for x in (predicted, target))
    cosine = (p * z).sum(axis=1) / np.sqrt((p**2).sum(axis=1) * (z**2).sum(axis=1))
    return 2 - 2 * cosine


def test_the_loss_is_the_squared_distance_of_directions():
    predicted, target = torch.randn(5, 7, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    losses = cosine_regression(predicted, target)
    np.testing.assert_allclose(losses.detach().numpy(), numpy_distance(predicted, target), rtol=1e-5)
    losses.sum().backward()
    assert target.grad is None and predicted.grad is not None
    # The longer a prediction, the less its direction turns.
    torch.testing.assert_close(cosine_regression(3 * predicted, target), losses)


@pytest.mark.parametrize("same_time", [False, True])
def test_terms_against_their_definition(same_time):
    model = tiny_method("BYOL", CROSS_WEIGHT=0.5, MOTION_WEIGHT=2.0, MOMENTUM=1.0, SAME_TIME=same_time)
    batch = tiny_batch()
    clips = {"visual": batch["video"], "motion": batch["motion"].expand(-1, -1, 3, -1, -1, -1)}
    numbers = model(batch)
    weights = {"visual_visual": 1.0, "visual_motion": 0.5, "motion_visual": 0.5, "motion_motion": 2.0}
    # Which clip the query and the key of a term are taken from, in both directions.
    apart, together = [(0, 1), (1, 0)], [(0, 0), (1, 1)]
    for name, weight in weights.items():
        query, key = name.split("_")
        expected = 0.0
        for i, j in together if same_time and query != key else apart:
            projected = model.query[query](model.normalizer[query](clips[query][:, i]))
            target = model.key[key](model.normalizer[key](clips[key][:, j]))
            expected += numpy_distance(model.predictor[name](projected), target).mean()
        assert numbers[f"loss_{name}"].item() == pytest.approx(weight * expected, rel=1e-4)
        assert numbers[f"positive_{name}"].item() == pytest.approx(1 - expected / 4, abs=1e-5)


def test_rgb_alone_has_one_predictor_and_no_motion():
    model = tiny_method("BYOL")
    assert list(model.query) == ["visual"] and list(model.predictor) == ["visual_visual"]
    batch = tiny_batch()
    del batch["motion"]
    numbers = model(batch)
    assert {name for name in numbers if name.startswith("loss")} == {"loss_visual_visual"}


def test_targets_follow_and_get_no_gradient():
    model = tiny_method("BYOL", MOMENTUM=0.75)
    with torch.no_grad():
        for parameter in model.query.parameters():
            parameter += 1.0
    before = [p.clone() for p in model.key.parameters()]
    model(tiny_batch())["loss_visual_visual"].backward()
    for old, follower, leader in zip(before, model.key.parameters(), model.query.parameters(), strict=True):
        torch.testing.assert_close(follower.detach(), 0.75 * old + 0.25 * leader.detach())
        assert follower.grad is None and leader.grad is not None
    assert all(p.grad is not None for p in model.predictor.parameters())
    with torch.no_grad():
        kept = [p.clone() for p in model.key.parameters()]
        model(tiny_batch())
        assert all(torch.equal(a, b) for a, b in zip(kept, model.key.parameters(), strict=True))


def test_spread_tells_collapse():
    model, batch = tiny_method("BYOL"), tiny_batch(size=8)
    assert model(batch)["spread_visual"] > 0
    with torch.no_grad():
        last = model.query["visual"].projection.layers[-1]
        last.weight.zero_()
        last.bias.fill_(1.0)
    assert model(batch)["spread_visual"] == pytest.approx(0.0, abs=1e-6)


def test_batch_norm_of_one_clip_is_refused():
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.META_ARCHITECTURE", "BYOL", "MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4]
    )
    cfg.merge_from_list(["MODEL.RESNET3D.NORM", "none", "MODEL.BYOL.PROJECTION_HIDDEN", 8])
    with pytest.raises(UserError, match="PROJECTION_NORM BN needs at least two clips"):
        build_model(cfg)(tiny_batch(size=1))
