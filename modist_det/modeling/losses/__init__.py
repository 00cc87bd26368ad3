"""Losses."""

from .classification import Loss, bce_with_logits, build_loss, cross_entropy, mean_over_ranks

__all__ = ["Loss", "bce_with_logits", "build_loss", "cross_entropy", "mean_over_ranks"]
