"""Evaluators and metrics. Modules are imported on first use, so that metrics do not need torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_names

if TYPE_CHECKING:
    from .ava import evaluate_ava
    from .ava_evaluator import AVAEvaluator
    from .classification import ClassificationEvaluator
    from .error_analysis import tube_errors
    from .evaluator import Evaluator, inference_on_dataset
    from .linking import link_detections, trim_tubes
    from .tube_ap import frame_map, nms_tubes, video_map

__all__ = [
    "AVAEvaluator",
    "ClassificationEvaluator",
    "Evaluator",
    "evaluate_ava",
    "frame_map",
    "inference_on_dataset",
    "link_detections",
    "nms_tubes",
    "trim_tubes",
    "tube_errors",
    "video_map",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AVAEvaluator": "ava_evaluator",
        "ClassificationEvaluator": "classification",
        "Evaluator": "evaluator",
        "evaluate_ava": "ava",
        "frame_map": "tube_ap",
        "inference_on_dataset": "evaluator",
        "link_detections": "linking",
        "nms_tubes": "tube_ap",
        "trim_tubes": "linking",
        "tube_errors": "error_analysis",
        "video_map": "tube_ap",
    },
)
