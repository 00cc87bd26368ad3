"""Makes a toy dataset for temporal_localization.py: ``python make_features.py FOLDER``.

FOLDER gets ``train.json``, ``val.json`` and ``NAME.npy`` of each recording: float32 (T, 8), two features a second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

CLASSES = ["jump", "wave", "sit"]
RATE = 2.0  # features a second
DIM = 8


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(len(CLASSES), DIM))  # of each class, added to noise while it happens
    for split, count in (("train", 24), ("val", 8)):
        recordings = []
        for number in range(count):
            name = f"{split}_{number:02d}"
            features = 0.5 * rng.normal(size=(rng.integers(40, 80), DIM))
            segments = []
            start = int(rng.integers(2, 6))
            while start + 12 < len(features):
                end, action = start + int(rng.integers(6, 12)), int(rng.integers(len(CLASSES)))
                features[start:end] += looks[action]
                segments.append([start / RATE, end / RATE, CLASSES[action]])
                start = end + int(rng.integers(4, 12))
            np.save(folder / f"{name}.npy", features.astype(np.float32))
            recordings.append({"name": name, "segments": segments})
        content = {"rate": RATE, "classes": CLASSES, "recordings": recordings}
        (folder / f"{split}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
