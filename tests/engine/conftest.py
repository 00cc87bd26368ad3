"""Runs on a tiny data set with a tiny model."""

from __future__ import annotations

import pytest

_CONFIG = """\
MODEL:
  NUM_CLASSES: 0
  RESNET3D: {{DEPTH: 18, WIDTH: 8, STEM_KERNEL: [1, 3, 3], TEMPORAL_KERNELS: [1, 1, 1, 3], NORM: {norm}}}
  HEAD: {{DROPOUT: 0.3}}
INPUT: {{NUM_FRAMES: 4, SAMPLING_RATE: 6, MIN_SIZE_TRAIN: [36, 48], CROP_SIZE: 32, MIN_SIZE_TEST: 32}}
DATASETS: {{TRAIN: [{data}/train.yaml], TEST: [{data}/val.yaml]}}
DATALOADER: {{NUM_WORKERS: 0}}
SOLVER: {{IMS_PER_BATCH: 4, BASE_LR: 0.02, MAX_EPOCH: 3.0, CHECKPOINT_PERIOD: 0.5, CHECKPOINTS_KEPT: 2}}
LOG_PERIOD: 2
"""


@pytest.fixture
def write_config(tiny_puppets, tmp_path):
    """``write_config(norm)`` -> path of a config that trains on the tiny set in seconds."""

    def write(norm: str = "BN"):
        path = tmp_path / f"{norm}.yaml"
        path.write_text(_CONFIG.format(norm=norm, data=tiny_puppets))
        return path

    return write
