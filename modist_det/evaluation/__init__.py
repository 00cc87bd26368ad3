"""Evaluators and metrics. Modules are imported on first use, so that AVA's metric does not need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names

if TYPE_CHECKING:
    from .ava import evaluate_ava
    from .ava_evaluator import AVAEvaluator
    from .classification import ClassificationEvaluator
    from .evaluator import Evaluator, inference_on_dataset

__all__ = ["AVAEvaluator", "ClassificationEvaluator", "Evaluator", "evaluate_ava", "inference_on_dataset"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AVAEvaluator": "ava_evaluator",
        "ClassificationEvaluator": "classification",
        "Evaluator": "evaluator",
        "evaluate_ava": "ava",
        "inference_on_dataset": "evaluator",
    },
)
