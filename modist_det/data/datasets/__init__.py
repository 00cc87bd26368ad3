"""Readers of data sets. They parse annotation files and open no video."""

from __future__ import annotations

from .ava import AVADataset, AVAMetadata
from .description import load_description, register_format
from .records import DetectionRecord, DetectionRecords, keyframe_id
from .unlabelled import VideoFolder, VideoRecord

__all__ = [
    "AVADataset",
    "AVAMetadata",
    "DetectionRecord",
    "DetectionRecords",
    "VideoFolder",
    "VideoRecord",
    "keyframe_id",
    "load_description",
    "register_format",
]
