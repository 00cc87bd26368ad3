"""A detection dataset that is not AVA's: people's tracks in one JSON file, and a metric of its own.

::

    {"classes": {"walk": 1, "wave": 2},
     "videos": [{"video": "val_0000", "width": 192, "height": 128, "fps": 15, "num_frames": 90,
                 "people": [{"boxes": [[12, 30, 70, 120], null, ...],        one a frame, in pixels; null: not seen
                             "segments": [{"start": 0.0, "end": 3.2, "actions": [1]}, ...]}]}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from modist_det.core import CfgNode
from modist_det.data.catalog import DatasetCatalog, data_root
from modist_det.data.datasets.description import register_format
from modist_det.data.datasets.detection import DetectionDataset, DetectionMetadata
from modist_det.data.datasets.records import DetectionRecord
from modist_det.structures.samples import DetectionBatch, Scores
from modist_det.utils import comm
from modist_det.utils.errors import UserError
from modist_det.utils.json_reading import malformed, read_json


class TracksDataset(DetectionDataset):
    """A keyframe every ``every`` seconds, with the people who are seen in its frame.

    Args:
        name: for messages and results.
        videos: folder of ``VIDEO.mp4``.
        tracks: the JSON file.
    """

    def __init__(self, name: str, videos: str | Path, tracks: str | Path, every: float = 1.0) -> None:
        self.name = name
        self.videos = Path(videos)
        self.path = tracks
        self.every = every

    @cached_property
    def tracks(self) -> dict[str, Any]:
        return read_json(self.path)

    @property
    def metadata(self) -> DetectionMetadata:
        with malformed(f"{self.path} is no file of tracks"):
            classes = {number: name for name, number in self.tracks["classes"].items()}
        return DetectionMetadata(self.name, classes, max(classes), keyframe_spacing=self.every)

    def records(self, boxes: str = "ground_truth", min_score: float = 0.0) -> list[DetectionRecord]:
        if boxes != "ground_truth":
            raise UserError(f"dataset {self.name} has no {boxes} boxes, only ground_truth")
        with malformed(f"{self.path} is no file of tracks"):
            return [
                record
                for video in self.tracks["videos"]
                for second in np.arange(self.every, video["num_frames"] / video["fps"], self.every).tolist()
                if len((record := self._keyframe(video, second)).boxes)
            ]

    def _keyframe(self, video: dict[str, Any], second: float) -> DetectionRecord:
        people = [p for p in video["people"] if p["boxes"][round(second * video["fps"])] is not None]
        boxes = np.array([p["boxes"][round(second * video["fps"])] for p in people], float).reshape(-1, 4)
        return DetectionRecord(
            video_id=video["video"],
            video=str(self.videos / f"{video['video']}.mp4"),
            second=second,
            time=second,
            fps=video["fps"],
            boxes=(boxes / ([video["width"], video["height"]] * 2)).astype(np.float32),
            actions=tuple(
                tuple(a for s in p["segments"] if s["start"] <= second < s["end"] for a in s["actions"])
                for p in people
            ),
            scores=np.ones(len(people), np.float32),
        )

    def evaluator(self, cfg: CfgNode, output_dir: Path) -> BestAction:
        return BestAction(output_dir / f"{self.name}_scores.json")


class BestAction:
    """How often the action with the highest score is one that the person does; writes all scores as JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reset()

    def reset(self) -> None:
        self.keyframes: dict[str, tuple[Any, Any]] = {}

    def process(self, batch: DetectionBatch, predictions: Sequence[Scores]) -> None:
        for name, labels, prediction in zip(batch["id"], batch["labels"], predictions, strict=True):
            self.keyframes[name] = (labels.cpu().numpy(), prediction["scores"].float().cpu().numpy())

    def evaluate(self) -> dict[str, float]:
        """``best_action``, in [0, 1], of the keyframes that all processes have seen together."""
        keyframes = {name: pair for part in comm.gather(self.keyframes) for name, pair in part.items()}
        if not comm.is_main_process():
            return {}
        scores = {name: scores.tolist() for name, (_, scores) in sorted(keyframes.items())}
        self.path.write_text(json.dumps(scores))
        right = [labels[np.arange(len(labels)), scores.argmax(1)] for labels, scores in keyframes.values()]
        return {"best_action": float(np.concatenate(right).mean())}


def _of_puppets(split: str) -> TracksDataset:
    folder = data_root() / "puppets"
    return TracksDataset(f"tracks_{split}", folder / "videos", folder / f"tracks_{split}.json")


# By name in DATASETS.TRAIN and TEST ...
for _split in ("train", "val"):
    DatasetCatalog.register(f"tracks_{_split}", partial(_of_puppets, _split))
# ... or by a description file: "format: tracks", "videos: FOLDER", "tracks: FILE".
register_format("tracks", TracksDataset, path_arguments=("videos", "tracks"))
