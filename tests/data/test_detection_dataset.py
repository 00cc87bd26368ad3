"""What follows from the records of a detection dataset of any format."""

from __future__ import annotations

import numpy as np

from modist_det.data.datasets import DetectionDataset, DetectionMetadata, DetectionRecord
from modist_det.structures.keyframes import VideoKeyframes


class Mine(DetectionDataset):
    metadata = DetectionMetadata("mine", {1: "walk"}, num_classes=1, first_second=900.0, keyframe_spacing=0.5)

    def records(self, boxes="ground_truth", min_score=0.0):
        box, score = np.array([[0, 0, 1, 1]], np.float32), np.ones(1, np.float32)
        return [
            DetectionRecord(name, f"{name}.mp4", second, second - 900, 12.0, box, ((1,),), score)
            for name, second in (("b", 902.5), ("a", 901.0), ("b", 901.0), ("b", 902.5))
        ]

    def evaluator(self, cfg, output_dir):
        raise NotImplementedError


def test_keyframes_and_videos():
    assert Mine().keyframes() == [
        VideoKeyframes("b", "b.mp4", 12.0, 900.0, (901.0, 902.5), 0.5),
        VideoKeyframes("a", "a.mp4", 12.0, 900.0, (901.0,), 0.5),
    ]
    assert Mine().find_videos(["a", "c"]) == {"a": "a.mp4"}
    videos = [(video.number, video.video_id, video.video, video.fps) for video in Mine().video_records()]
    assert videos == [(0, "b", "b.mp4", 12.0), (1, "a", "a.mp4", 12.0)]
