"""Person detectors: frames -> boxes and scores."""

from .base import (
    PERSON_DETECTOR_REGISTRY,
    Frame,
    PersonDetector,
    Picture,
    build_person_detector,
    non_maximum_suppression,
)
from .detectron2_zoo import Detectron2
from .onnx import YOLOX, FastestDet
from .precomputed import Precomputed
from .torchvision_rcnn import FasterRCNN

__all__ = [
    "PERSON_DETECTOR_REGISTRY",
    "YOLOX",
    "Detectron2",
    "FasterRCNN",
    "FastestDet",
    "Frame",
    "PersonDetector",
    "Picture",
    "Precomputed",
    "build_person_detector",
    "non_maximum_suppression",
]
