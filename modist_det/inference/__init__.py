"""Action detection in videos: predictor, person detectors, tracking, streaming pipeline, result files."""

from ..structures.tracking import Tracker
from .class_results import VideoClasses
from .classifier import ClassPredictor
from .persons import PERSON_DETECTOR_REGISTRY, Frame, Picture, build_person_detector
from .pipeline import PipelineSettings
from .predictor import ActionPredictor
from .results import (
    ActionSegment,
    ClipActions,
    KeyframeActions,
    PersonBoxes,
    Tube,
    VideoActions,
    VideoHeader,
    to_instances,
)
from .run import Outputs, annotate, predict_video
from .stream import open_source

__all__ = [
    "PERSON_DETECTOR_REGISTRY",
    "ActionPredictor",
    "ActionSegment",
    "ClassPredictor",
    "ClipActions",
    "Frame",
    "KeyframeActions",
    "Outputs",
    "PersonBoxes",
    "Picture",
    "PipelineSettings",
    "Tracker",
    "Tube",
    "VideoActions",
    "VideoClasses",
    "VideoHeader",
    "annotate",
    "build_person_detector",
    "open_source",
    "predict_video",
    "to_instances",
]
