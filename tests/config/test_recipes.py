"""Rules that all recipes of ``configs/`` keep."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from modist_det.config import get_cfg
from modist_det.core import CfgNode
from modist_det.utils.yaml_reading import read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path for path in CONFIGS.rglob("*.yaml") if not path.name.startswith("Base"))


@cache
def config(path: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(path)
    return cfg


def base_of(path: Path) -> Path | None:
    name = read_yaml(path, str(path)).get("_BASE_")
    return path.parent / name if name else None


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_warm_up_begins_below_the_rate_and_scales_with_it(path):
    """A recipe for more or fewer clips a step changes the rates at the start and the end of a warm-up alike."""
    solver = config(path).SOLVER
    if not solver.WARMUP_EPOCHS:
        return
    assert solver.WARMUP_START_LR <= solver.BASE_LR
    base = base_of(path)
    # Published networks (Zoo) have the rates that were published with them.
    if base is None or "Zoo" in path.parts or not config(base).SOLVER.WARMUP_EPOCHS:
        return
    before = config(base).SOLVER
    start, scale = solver.WARMUP_START_LR, solver.BASE_LR / before.BASE_LR
    assert start == pytest.approx(scale * before.WARMUP_START_LR)
    # Rates for REFERENCE_BATCH clips are scaled already.
    if before.REFERENCE_BATCH and solver.IMS_PER_BATCH != before.IMS_PER_BATCH:
        assert scale == solver.REFERENCE_BATCH / before.REFERENCE_BATCH


def test_rates_are_per_clip_of_a_step():
    """The linear scaling rule, against the recipe for one machine."""
    one, eight = (config(CONFIGS / f"MoDist/Kinetics_R50{name}.yaml") for name in ("", "_8nodes"))
    for key in ("IMS_PER_BATCH", "BASE_LR", "WARMUP_START_LR"):
        assert eight.SOLVER[key] == pytest.approx(8 * one.SOLVER[key])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_queues_fit_the_data(path):
    """Only Kinetics fills a queue of 65,536 keys; on small sets it would be most of all samples, again and again."""
    cfg = config(path)
    if cfg.TASK != "pretraining" or cfg.MODEL.META_ARCHITECTURE != "MoDist" or "Zoo" in path.parts:
        return
    if cfg.DATASETS.TRAIN == ["kinetics400_train"]:
        assert cfg.MODEL.MODIST.QUEUE_SIZE == 65536
    else:
        assert cfg.MODEL.MODIST.QUEUE_SIZE <= 4 * cfg.SOLVER.IMS_PER_BATCH


def test_recipes_write_into_folders_of_their_own():
    folders = [config(path).OUTPUT_DIR for path in RECIPES if "Zoo" not in path.parts]
    assert len(set(folders)) == len(folders)
