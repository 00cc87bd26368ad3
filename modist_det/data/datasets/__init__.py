"""Dataset readers. They parse annotation files and never open a video."""

from __future__ import annotations

from .ava import AVADataset, AVAMetadata
from .classification import ClassificationDataset, ClassificationMetadata
from .description import load_description, register_format
from .detection import DetectionDataset, DetectionMetadata
from .hmdb51 import HMDB51Dataset
from .kinetics import KineticsDataset
from .records import DetectionRecord, DetectionRecords, VideoRecord, VideoRecords, keyframe_id
from .ssv2 import SSv2Dataset
from .tubes import TubesDataset
from .ucf101 import UCF101Dataset
from .unlabelled import VideoFolder
from .video_list import ClassFolders, VideoListDataset

__all__ = [
    "AVADataset",
    "AVAMetadata",
    "ClassFolders",
    "ClassificationDataset",
    "ClassificationMetadata",
    "DetectionDataset",
    "DetectionMetadata",
    "DetectionRecord",
    "DetectionRecords",
    "HMDB51Dataset",
    "KineticsDataset",
    "SSv2Dataset",
    "TubesDataset",
    "UCF101Dataset",
    "VideoFolder",
    "VideoListDataset",
    "VideoRecord",
    "VideoRecords",
    "keyframe_id",
    "load_description",
    "register_format",
]
