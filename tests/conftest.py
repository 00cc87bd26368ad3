"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before anything loads torch: threads that wait by spinning slow down tests with several processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# nohup has SIGHUP ignored, which the package respects; here the signal's handling is tested.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["tests.numbered_videos"]

ROOT = Path(__file__).resolve().parents[1]


_TINY_CONFIG = """\
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


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real clips and reference numerics; the test is skipped where it is absent.

    ``MODIST_TEST_DATA`` names it; otherwise ``../shared/data`` beside the repository.
    """
    folder = Path(os.environ.get("MODIST_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data is absent: no folder {folder} (set MODIST_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_puppets(tmp_path_factory) -> Path:
    """A generated AVA-style set of 8 + 3 short videos: ``train.yaml``, ``val.yaml``, ``videos``..."""
    from modist_det.puppets import PuppetsParams, generate

    folder = tmp_path_factory.mktemp("puppets")
    params = PuppetsParams(
        train_videos=8, val_videos=3, frame_width=64, frame_height=48, fps=10, seconds=3.0, max_people=2
    )
    generate(folder, params, seed=1, workers=0)
    return folder


@pytest.fixture(scope="session")
def tiny_actions(tmp_path_factory) -> Path:
    """A generated set of 24 + 12 short videos of one action each, in UCF101's format, at ``MODIST_DATASETS``' place.

    The folder has ``puppets_actions/`` with ``videos`` and ``ucfTrainTestlist``.
    """
    from modist_det.puppets import PuppetsParams, generate

    folder = tmp_path_factory.mktemp("actions")
    params = PuppetsParams(
        train_videos=24,
        val_videos=12,
        frame_width=64,
        frame_height=48,
        fps=10,
        seconds=2.5,
        max_people=1,
        single_action=True,
    )
    generate(folder / "puppets_actions", params, seed=2, workers=0)
    return folder


@pytest.fixture
def hub_server(tmp_path, monkeypatch):
    """A local Hugging Face Hub, with an empty cache of its own."""
    constants = pytest.importorskip(
        "huggingface_hub.constants", reason="needs huggingface_hub (the extra hub)"
    )
    from tests.hub_server import serving

    monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


@pytest.fixture
def write_config(tiny_puppets, tmp_path):
    """``write_config(norm)`` -> path of a config that trains on the tiny set in seconds."""

    def write(norm: str = "BN"):
        path = tmp_path / f"{norm}.yaml"
        path.write_text(_TINY_CONFIG.format(norm=norm, data=tiny_puppets))
        return path

    return write
