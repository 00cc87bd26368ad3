"""Readers of data sets. They parse annotation files and open no video."""

from __future__ import annotations

from .ava import AVADataset, AVAMetadata
from .classification import ClassificationDataset, ClassificationMetadata
from .description import load_description, register_format
from .kinetics import KineticsDataset
from .records import DetectionRecord, DetectionRecords, VideoRecord, keyframe_id
from .ucf101 import UCF101Dataset
from .unlabelled import VideoFolder

__all__ = [
    "AVADataset",
    "AVAMetadata",
    "ClassificationDataset",
    "ClassificationMetadata",
    "DetectionRecord",
    "DetectionRecords",
    "KineticsDataset",
    "UCF101Dataset",
    "VideoFolder",
    "VideoRecord",
    "keyframe_id",
    "load_description",
    "register_format",
]
