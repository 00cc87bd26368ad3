"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything loads torch: threads that wait by spinning slow down tests with several processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["tests.numbered_videos"]

ROOT = Path(__file__).resolve().parents[1]


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
