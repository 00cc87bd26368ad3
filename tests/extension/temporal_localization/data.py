"""Records, samples and batches.

A dataset is a JSON file beside the ``NAME.npy`` of its recordings, float32 (T, D), ``rate`` features a second::

    {"rate": 2.0, "classes": ["jump", "wave"],
     "recordings": [{"name": "val_00", "segments": [[2.5, 6.0, "jump"], ...]}, ...]}    start and end in seconds
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modist_det.structures.samples import Batch, Sample
from modist_det.utils.json_reading import malformed, read_json

Segment = tuple[float, float, str]  # start and end in seconds, class


class Recording(NamedTuple):
    """A record: what the mapper gets."""

    name: str
    path: Path
    segments: list[Segment]


class Features(NamedTuple):
    """A dataset."""

    rate: float
    classes: list[str]
    recordings: list[Recording]

    @classmethod
    def read(cls, path: Path) -> Features:
        content = read_json(path)
        with malformed(f"{path} is no list of recordings"):
            recordings = [
                Recording(r["name"], path.parent / f"{r['name']}.npy", [(*s,) for s in r["segments"]])
                for r in content["recordings"]
            ]
            return cls(float(content["rate"]), list(content["classes"]), recordings)


class FeatureSample(Sample):
    features: Tensor  # float32 (T, D)
    targets: Tensor  # float32 (T, K) of 0 and 1


class FeatureBatch(Batch):
    features: Tensor  # float32 (B, T, D), shorter recordings filled up with zeros
    targets: Tensor  # float32 (B, T, K)
    lengths: list[int]


class FeatureMapper:
    """Record -> sample. It could draw parts, or add noise, from the generator that belongs to the sample."""

    def __init__(self, dataset: Features) -> None:
        self.dataset = dataset

    def __call__(self, record: Recording, rng: np.random.Generator) -> FeatureSample:
        features = torch.from_numpy(np.load(record.path))
        seconds = torch.arange(len(features)) / self.dataset.rate
        targets = torch.zeros(len(features), len(self.dataset.classes))
        for start, end, action in record.segments:
            targets[(start <= seconds) & (seconds < end), self.dataset.classes.index(action)] = 1
        return {"id": record.name, "features": features, "targets": targets}


def pad(samples: Sequence[FeatureSample]) -> dict[str, Any]:
    """Samples of any lengths -> a batch."""
    return {
        "id": [sample["id"] for sample in samples],
        "features": pad_sequence([sample["features"] for sample in samples], batch_first=True),
        "targets": pad_sequence([sample["targets"] for sample in samples], batch_first=True),
        "lengths": [len(sample["features"]) for sample in samples],
    }
