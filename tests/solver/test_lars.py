"""LARS against its formula."""

from __future__ import annotations

import copy

import torch

from modist_det.config import get_cfg
from modist_det.solver import build_optimizer
from modist_det.solver.lars import LARS


def test_three_steps_against_the_formula():
    torch.manual_seed(0)
    matrix, bias, still = (torch.nn.Parameter(torch.randn(*s)) for s in ((3, 2), (3,), (2, 2)))
    with torch.no_grad():
        still.zero_()
    lr, momentum, decay, trust = 0.5, 0.9, 0.1, 0.02
    optimizer = LARS(
        [{"params": [matrix, bias, still], "weight_decay": decay}], lr=lr, momentum=momentum, trust=trust
    )
    weights = [p.detach().double().clone() for p in (matrix, bias, still)]
    speeds = [torch.zeros_like(w) for w in weights]
    for _ in range(3):
        gradients = [torch.randn_like(p) for p in (matrix, bias, still)]
        for parameter, gradient in zip((matrix, bias, still), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for i, gradient in enumerate(gradients):
            g, w = gradient.double(), weights[i]
            factor = 1.0
            if w.dim() > 1 and w.norm() > 0:
                factor = trust * w.norm() / (g.norm() + decay * w.norm())
            speeds[i] = momentum * speeds[i] + factor * (g + decay * w)
            weights[i] = w - lr * speeds[i]
        for parameter, expected in zip((matrix, bias, still), weights, strict=True):
            torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)
    assert optimizer.param_groups[0]["weight_decay"] == decay


def test_config_and_state():
    cfg = get_cfg()
    cfg.merge_from_list(["SOLVER.OPTIMIZER", "lars", "SOLVER.LARS_TRUST", 0.01, "SOLVER.MOMENTUM", 0.8])
    model = torch.nn.Linear(3, 2)
    twin = copy.deepcopy(model)
    optimizer, other = build_optimizer(cfg, model), build_optimizer(cfg, twin)
    settings = {"trust": 0.01, "momentum": 0.8, "nesterov": True}
    assert isinstance(optimizer, LARS) and settings.items() <= optimizer.param_groups[0].items()

    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(model, optimizer, 0)
    twin.load_state_dict(model.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer, 1)
    step(twin, other, 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
