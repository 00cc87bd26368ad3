"""A detection dataset from outside the package that is not AVA-style: a JSON file, and accuracy as its metric.

The file holds a list of ``{"video": path, "keyframes": [{"time": seconds, "people": [{"box": [x1, y1, x2, y2] in
[0, 1], "move": name}]}]}``. ``python tools/run_net.py --import moves_dataset --cfg ...`` with description files
(``format: moves``, ``file: FILE``) or the name ``moves`` (``moves.json`` at the data root) in DATASETS.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from modist_det.core import CfgNode
from modist_det.data.catalog import DatasetCatalog, data_root
from modist_det.data.datasets import register_format
from modist_det.data.datasets.detection import DetectionDataset, DetectionMetadata
from modist_det.data.datasets.records import DetectionRecord
from modist_det.structures.samples import DetectionBatch, Scores
from modist_det.utils import comm
from modist_det.utils.errors import UserError


class MovesDataset(DetectionDataset):
    """Every person makes one move."""

    def __init__(self, name: str, file: str | Path) -> None:
        self._name = name
        self._videos = json.loads(Path(file).read_text(encoding="utf-8"))
        people = (p for video in self._videos for frame in video["keyframes"] for p in frame["people"])
        self._moves = {move: i for i, move in enumerate(sorted({p["move"] for p in people}), start=1)}

    @property
    def metadata(self) -> DetectionMetadata:
        return DetectionMetadata(self._name, {i: m for m, i in self._moves.items()}, len(self._moves))

    def records(self, boxes: str = "ground_truth", min_score: float = 0.0) -> list[DetectionRecord]:
        if boxes != "ground_truth":
            raise UserError(f"dataset {self._name} has no {boxes} boxes")
        return [
            DetectionRecord(
                video_id=Path(video["video"]).stem,
                video=video["video"],
                second=frame["time"],
                time=frame["time"],
                fps=30.0,
                boxes=np.array([person["box"] for person in frame["people"]], np.float32),
                actions=tuple((self._moves[person["move"]],) for person in frame["people"]),
                scores=np.ones(len(frame["people"]), np.float32),
            )
            for video in self._videos
            for frame in video["keyframes"]
        ]

    def evaluator(self, cfg: CfgNode, output_dir: Path) -> MoveAccuracy:
        return MoveAccuracy(output_dir / f"{self._name}_moves.json")


class MoveAccuracy:
    """How often the move with the highest score is the person's."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.reset()

    def reset(self) -> None:
        self._best: dict[str, list[list[int]]] = {}  # of each keyframe: (move said, true move) of its persons

    def process(self, batch: DetectionBatch, predictions: list[Scores]) -> None:
        for name, labels, prediction in zip(batch["id"], batch["labels"], predictions, strict=True):
            pairs = zip(prediction["scores"].argmax(1).tolist(), labels.argmax(1).tolist(), strict=True)
            self._best[name] = [[said + 1, true + 1] for said, true in pairs]

    def evaluate(self) -> dict[str, float]:
        shards = comm.gather(self._best)
        if not comm.is_main_process():
            return {}
        best = {name: pairs for shard in shards for name, pairs in shard.items()}
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(best), encoding="utf-8")
        return {"accuracy": float(np.mean([said == true for pairs in best.values() for said, true in pairs]))}


register_format("moves", MovesDataset, path_arguments=["file"])
DatasetCatalog.register("moves", lambda: MovesDataset("moves", data_root() / "moves.json"))
