"""Evaluators; each part is imported when it is first used, so that AVA's metric needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ava import evaluate_ava
    from .ava_evaluator import AVAEvaluator
    from .classification import ClassificationEvaluator
    from .evaluator import Evaluator, inference_on_dataset

__all__ = ["AVAEvaluator", "ClassificationEvaluator", "Evaluator", "evaluate_ava", "inference_on_dataset"]

_MODULES = {
    "AVAEvaluator": "ava_evaluator",
    "ClassificationEvaluator": "classification",
    "Evaluator": "evaluator",
    "evaluate_ava": "ava",
    "inference_on_dataset": "evaluator",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
