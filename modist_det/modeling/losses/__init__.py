"""Losses."""

from .classification import (
    ClassBalancedBCE,
    FocalBCE,
    Loss,
    bce_with_logits,
    build_loss,
    cross_entropy,
    mean_over_ranks,
)

__all__ = [
    "ClassBalancedBCE",
    "FocalBCE",
    "Loss",
    "bce_with_logits",
    "build_loss",
    "cross_entropy",
    "mean_over_ranks",
]
