"""Parameter groups and one optimizer step worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modist_det.config import get_cfg
from modist_det.solver import build_optimizer, clip_gradients, parameter_groups
from modist_det.utils.errors import UserError


def test_groups_separate_norm_bias_and_the_rest():
    model = nn.Sequential(
        nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.GroupNorm(1, 3), nn.Linear(3, 1, bias=False)
    )
    model[3].weight.requires_grad_(False)
    groups = {g["weight_decay"]: {id(p) for p in g["params"]} for g in parameter_groups(model, 0.3, 0.2, 0.1)}
    conv, batch_norm, group_norm, _ = model
    assert groups == {
        0.3: {id(conv.weight)},
        0.2: {id(batch_norm.weight), id(batch_norm.bias), id(group_norm.weight), id(group_norm.bias)},
        0.1: {id(conv.bias)},
    }


def test_a_shared_parameter_is_listed_once():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    groups = parameter_groups(nn.Sequential(first, second), 0.1, 0.1, 0.1)
    assert sum(len(g["params"]) for g in groups) == 3


def test_sgd_decays_only_what_it_should():
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            "SOLVER.BASE_LR",
            "0.5",
            "SOLVER.MOMENTUM",
            "0",
            "SOLVER.WEIGHT_DECAY",
            "0.1",
            "SOLVER.WEIGHT_DECAY_NORM",
            "0",
        ]
    )
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert model[0].weight.item() == pytest.approx(2.0 - 0.5 * (1 + 0.1 * 2.0))
    assert model[1].weight.item() == pytest.approx(1.0 - 0.5)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_config_names_the_optimizer(name, kind):
    cfg = get_cfg()
    cfg.SOLVER.OPTIMIZER = name
    assert type(build_optimizer(cfg, nn.Linear(1, 1))) is kind


def test_an_unknown_optimizer_and_a_frozen_model_are_errors():
    cfg = get_cfg()
    with pytest.raises(UserError, match="no trainable parameter"):
        build_optimizer(cfg, nn.Linear(1, 1).requires_grad_(False))
    cfg.SOLVER.OPTIMIZER = "adagrad"
    with pytest.raises(UserError, match="adagrad"):
        build_optimizer(cfg, nn.Linear(1, 1))


def test_clipping_by_norm_and_by_value():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, -4.0])
    clip_gradients([parameter], "value", 3.5)
    assert parameter.grad.tolist() == [3.0, -3.5]
    parameter.grad = torch.tensor([3.0, -4.0])
    clip_gradients([parameter], "norm", 1.0)
    assert parameter.grad.tolist() == pytest.approx([0.6, -0.8], abs=1e-5)
    with pytest.raises(UserError, match="CLIP_TYPE"):
        clip_gradients([parameter], "both", 1.0)
