"""Meta architectures: from a batch to losses in training and predictions in evaluation."""

from ..clip_normalizer import ClipNormalizer
from .action_detector import ActionDetector
from .build import build_model
from .video_classifier import VideoClassifier

__all__ = ["ActionDetector", "ClipNormalizer", "VideoClassifier", "build_model"]
