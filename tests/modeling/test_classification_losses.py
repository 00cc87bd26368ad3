"""Losses against numbers worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from modist_det.config import get_cfg
from modist_det.modeling.losses import (
    ClassBalancedBCE,
    FocalBCE,
    bce_with_logits,
    build_loss,
    cross_entropy,
    mean_over_ranks,
)
from modist_det.utils.errors import UserError


def test_bce_is_the_mean_over_classes_of_each_row():
    logits = torch.tensor([[0.0, log(3)], [log(3), -log(3)]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # Row 0: -ln(1/2), -ln(1 - 3/4). Row 1: -ln(3/4), -ln(1/4).
    expected = [(log(2) + log(4)) / 2, (log(4 / 3) + log(4)) / 2]
    assert bce_with_logits(logits, targets).tolist() == pytest.approx(expected)


def test_bce_averaged_over_rows_is_that_of_probabilities():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 5), torch.randint(0, 2, (6, 5)).float()
    expected = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), targets)
    torch.testing.assert_close(bce_with_logits(logits, targets).mean(), expected)


def test_cross_entropy_of_class_ids():
    logits = torch.tensor([[0.0, log(3)], [0.0, log(3)]])
    for ids in (torch.tensor([1, 0]), torch.tensor([1, 0], dtype=torch.int32)):
        assert cross_entropy(logits, ids).tolist() == pytest.approx([log(4 / 3), log(4)])


def test_cross_entropy_of_several_labels_shares_the_probability():
    logits = torch.tensor([[0.0, log(3)]] * 3)
    targets = torch.tensor([[0, 1], [1, 1], [0, 0]])
    expected = [log(4 / 3), (log(4) + log(4 / 3)) / 2, 0.0]
    assert cross_entropy(logits, targets).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss", [bce_with_logits, cross_entropy, FocalBCE(), ClassBalancedBCE([1, 2])], ids=str
)
def test_losses_are_float32_under_autocast(loss):
    """8 + 2^-6 is no bfloat16 number; its loss must not be rounded to that of 8."""
    logits = torch.tensor([[8 + 2**-6, 0.0]])
    targets = torch.tensor([[0.0, 1.0]])
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, targets)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.double(), targets), check_dtype=False)
    assert loss(logits.half(), targets).dtype == torch.float32


@pytest.mark.parametrize("loss", [bce_with_logits, cross_entropy])
def test_no_rows_give_zero_with_gradients(loss):
    logits = torch.zeros(0, 3, requires_grad=True)
    value = mean_over_ranks(loss(logits, torch.zeros(0, 3)))
    value.backward()
    assert value.item() == 0
    assert logits.grad.shape == (0, 3)


def test_mean_in_one_process_is_the_mean():
    assert mean_over_ranks(torch.tensor([1.0, 2.0, 6.0])).item() == pytest.approx(3)


def test_config_names_a_loss():
    cfg = get_cfg()
    assert build_loss(cfg) is bce_with_logits
    cfg.MODEL.LOSS.NAME = "cross_entropy"
    assert build_loss(cfg) is cross_entropy
    cfg.MODEL.LOSS.NAME = "bce"
    with pytest.raises(UserError, match="MODEL.LOSS.NAME is 'bce'"):
        build_loss(cfg)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
def test_focal_loss_is_that_of_torchvision(gamma, alpha):
    torch.manual_seed(0)
    logits = (3 * torch.randn(6, 5)).requires_grad_()
    targets = torch.rand(6, 5).round()
    cfg = get_cfg()
    names = ("MODEL.LOSS.NAME", "MODEL.LOSS.GAMMA", "MODEL.LOSS.ALPHA")
    cfg.merge_from_list(
        [word for pair in zip(names, ("FocalBCE", gamma, alpha), strict=True) for word in pair]
    )
    found = build_loss(cfg)(logits, targets)
    expected = sigmoid_focal_loss(logits, targets, alpha, gamma, reduction="none").mean(dim=1)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_focal_loss_has_gradients_where_targets_are_met():
    """Scores of 20 and 200 are 1 in float32, so that nothing is missing."""
    logits = torch.tensor([[20.0, 200.0, 0.0]], requires_grad=True)
    FocalBCE(gamma=0.5)(logits, torch.ones(1, 3)).sum().backward()
    assert logits.grad[0, :2].abs().max() < 1e-8 and logits.grad[0, 2] < -0.01


def test_class_balanced_weights_by_hand():
    """1, 2 and 0 samples with beta 1/2: 1, (1/2) / (3/4) and, as for one sample, 1."""
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.LOSS.NAME", "ClassBalancedBCE", "MODEL.LOSS.CLASS_COUNTS", [1, 2, 0]])
    cfg.MODEL.LOSS.BETA = 0.5
    logits, targets = torch.tensor([[0.0, log(3), log(3)]]), torch.tensor([[1.0, 0.0, 1.0]])
    # -ln(1/2), -ln(1 - 3/4), -ln(3/4); the weights have the mean 8/9.
    expected = (log(2) + 2 / 3 * log(4) + log(4 / 3)) * 9 / 8 / 3
    assert build_loss(cfg)(logits, targets).tolist() == pytest.approx([expected])
    torch.testing.assert_close(
        ClassBalancedBCE([5, 9, 1], 0.0)(logits, targets), bce_with_logits(logits, targets)
    )


def test_class_counts_must_fit():
    with pytest.raises(UserError, match="CLASS_COUNTS has 2 counts, but the model has 3 classes"):
        ClassBalancedBCE([1, 2])(torch.zeros(1, 3), torch.zeros(1, 3))
    cfg = get_cfg()
    cfg.MODEL.LOSS.NAME = "ClassBalancedBCE"
    with pytest.raises(UserError, match=r"each class in MODEL.LOSS.CLASS_COUNTS \(it has 0\)"):
        build_loss(cfg)
    with pytest.raises(UserError, match=r"a MODEL.LOSS.BETA below 1 \(it is 1\)"):
        ClassBalancedBCE([1, 2], 1.0)
