"""Parameter groups and one optimizer step worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from modist_det.config import get_cfg
from modist_det.engine.hooks import ScheduleHook
from modist_det.modeling import build_model
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


def test_layer_decay_written_out_for_a_small_detector():
    cfg = get_cfg()
    network = {
        "DIM": 8,
        "DEPTH": 2,
        "HEADS": 1,
        "POSITIONS": "learned",
        "CLASS_TOKEN": True,
        "LAYER_SCALE": 0.1,
    }
    solver = {"OPTIMIZER": "adamw", "LAYER_DECAY": 0.5}
    solver |= {"WEIGHT_DECAY": 0.05, "WEIGHT_DECAY_BIAS": 0.0, "WEIGHT_DECAY_NORM": 0.0}
    keys = {"MODEL.BACKBONE.NAME": "VideoViT", "MODEL.NUM_CLASSES": 3}
    keys |= {f"MODEL.VIDEO_VIT.{key}": value for key, value in network.items()}
    keys |= {f"SOLVER.{key}": value for key, value in solver.items()}
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr_scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    kept = ["attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"]
    free = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.q_bias", "attn.v_bias"]
    free += ["attn.proj.bias", "mlp.fc1.bias", "mlp.fc2.bias", "gamma_1", "gamma_2"]
    expected = {
        "backbone.patch_embed.proj.weight": (0.125, 0.05),
        "backbone.patch_embed.proj.bias": (0.125, 0),
        "backbone.cls_token": (0.125, 0),
        "backbone.pos_embed": (0.125, 0),
        **{f"backbone.blocks.0.{name}": (0.25, 0.05) for name in kept},
        **{f"backbone.blocks.0.{name}": (0.25, 0) for name in free},
        **{f"backbone.blocks.1.{name}": (0.5, 0.05) for name in kept},
        **{f"backbone.blocks.1.{name}": (0.5, 0) for name in free},
        "backbone.norm.weight": (1.0, 0),
        "backbone.norm.bias": (1.0, 0),
        "head.projection.weight": (1.0, 0.05),
        "head.projection.bias": (1.0, 0),
    }
    assert found == expected
    # The schedule's rate is that of the last layers.
    trainer = SimpleNamespace(iteration=0, optimizer=optimizer)
    ScheduleHook(lambda progress: 0.8, total=10).before_step(trainer)
    rates = {group["lr_scale"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({0.125: 0.1, 0.25: 0.2, 0.5: 0.4, 1.0: 0.8})


def test_layer_decay_needs_blocks():
    cfg = get_cfg()
    cfg.SOLVER.LAYER_DECAY = 0.75
    with pytest.raises(UserError, match="LAYER_DECAY is for transformers"):
        build_optimizer(cfg, nn.Linear(1, 1))


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
