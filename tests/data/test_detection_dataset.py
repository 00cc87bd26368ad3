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


class Two(Mine):
    """Of two people at 901 s one does two things and one nothing; the person at 902 s does nothing."""

    def records(self, boxes="ground_truth", min_score=0.0):
        left, right = [0, 0, 0.5, 1], [0.5, 0, 1, 1]
        return [
            DetectionRecord(
                "b", "b.mp4", 901.0, 1.0, 12.0, np.float32([left, right]), ((2, 1), ()), np.ones(2)
            ),
            DetectionRecord("a", "a.mp4", 902.0, 2.0, 12.0, np.float32([right]), ((),), np.ones(1)),
        ]


def test_ground_truth():
    table = Two().ground_truth()
    assert table.names() == [("b", 901.0), ("b", 901.0)] and table.action.tolist() == [2, 1]
    assert table.boxes.tolist() == [[0, 0, 0.5, 1]] * 2
    assert table.keyframes.names() == [("a", 902.0)]  # counts: a detection there is wrong
    assert len(Mine().ground_truth()) == 4
