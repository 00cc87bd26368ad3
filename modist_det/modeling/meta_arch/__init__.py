"""Meta architectures: batch -> losses in training, predictions in evaluation."""

from .action_detector import ActionDetector
from .build import build_model
from .clip_normalizer import ClipNormalizer
from .modist import MoDist
from .video_classifier import VideoClassifier

__all__ = ["ActionDetector", "ClipNormalizer", "MoDist", "VideoClassifier", "build_model"]
