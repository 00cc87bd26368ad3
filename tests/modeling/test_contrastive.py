"""Queue, momentum copies and InfoNCE against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from modist_det.modeling.contrastive import (
    KeyQueue,
    MomentumEncoders,
    annealed_momentum,
    shuffle_batch,
    unshuffle_batch,
    update_momentum_copy,
)
from modist_det.modeling.losses.infonce import info_nce


def unit(*shape, seed=0):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(rows, dim=-1)


def test_the_queue_is_a_ring_of_the_newest_keys():
    queue = KeyQueue(5, 2)
    assert queue.keys.norm(dim=1).tolist() == pytest.approx([1] * 5, abs=1e-6)
    assert queue.videos.tolist() == [-1] * 5
    for first in (0, 3):
        numbers = torch.arange(first, first + 3)
        queue.append(numbers.float().unsqueeze(1).expand(-1, 2), numbers)
    assert queue.videos.tolist() == [5, 1, 2, 3, 4]
    assert queue.keys[:, 0].tolist() == [5, 1, 2, 3, 4]
    assert queue.position.item() == 1


def test_more_keys_than_places_leave_the_last_ones():
    queue = KeyQueue(3, 1)
    queue.append(torch.arange(7.0).unsqueeze(1), torch.arange(7))
    assert sorted(queue.videos.tolist()) == [4, 5, 6]


def test_the_momentum_copy_follows_weights_only():
    network = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    follower = MomentumEncoders(nn.ModuleDict({"visual": network}), 0.9)["visual"]
    start = follower[0].weight.clone()
    with torch.no_grad():
        network[0].weight += 1.0
        network[1].running_mean += 5.0
    update_momentum_copy(follower, network, 0.9)
    torch.testing.assert_close(follower[0].weight, start + 0.1)
    assert follower[1].running_mean.item() == 0
    assert not any(parameter.requires_grad for parameter in follower.parameters())


def test_momentum_rises_along_a_half_cosine():
    assert annealed_momentum(0.99, 0.0) == pytest.approx(0.99)
    assert annealed_momentum(0.99, 0.5) == pytest.approx(0.995)
    assert annealed_momentum(0.99, 1.0) == 1.0


def test_shuffling_and_back_in_one_process():
    clips = torch.arange(12.0).view(6, 2)
    torch.manual_seed(1)
    shuffled, order = shuffle_batch(clips)
    assert not torch.equal(shuffled, clips)
    assert torch.equal(unshuffle_batch(shuffled, order), clips)


def test_infonce_against_the_formula():
    queries, keys, negatives = unit(3, 4, seed=1), unit(3, 4, seed=2), unit(5, 4, seed=3)
    excluded = torch.zeros(3, 5, dtype=torch.bool)
    excluded[1, 2] = excluded[1, 4] = True
    result = info_nce(queries, keys, negatives, 0.1, excluded)
    losses, hits = [], 0
    for row in range(3):
        positive = float(queries[row] @ keys[row])
        others = [float(queries[row] @ n) for j, n in enumerate(negatives) if not excluded[row, j]]
        total = math.exp(positive / 0.1) + sum(math.exp(o / 0.1) for o in others)
        losses.append(-math.log(math.exp(positive / 0.1) / total))
        hits += positive > max(others)
    assert result.loss.item() == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert result.accuracy.item() == pytest.approx(hits / 3)
    assert result.positive_similarity.item() == pytest.approx((queries * keys).sum(1).mean().item(), rel=1e-5)
    assert result.negative_similarity.item() == pytest.approx((queries @ negatives.T).mean().item(), rel=1e-5)


def test_collapsed_features_pick_no_positive():
    equal = torch.eye(4)[:1]
    assert info_nce(equal.expand(3, 4), equal.expand(3, 4), equal.expand(5, 4), 0.1).accuracy == 0


def test_gradient_flows_through_queries_only():
    queries, keys, negatives = (unit(2, 3, seed=s).requires_grad_() for s in range(3))
    info_nce(queries, keys, negatives, 0.1).loss.backward()
    assert queries.grad.abs().sum() > 0
    assert keys.grad is None and negatives.grad is None


def test_infonce_is_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        result = info_nce(unit(2, 3), unit(2, 3), unit(4, 3, seed=1), 0.1)
    assert result.loss.dtype == torch.float32
    assert result.loss.item() == pytest.approx(
        info_nce(unit(2, 3), unit(2, 3), unit(4, 3, seed=1), 0.1).loss.item()
    )
