"""The configs that come with the package, by the backbone that they describe."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["config_folder", "configs_with"]


def config_folder() -> Path:
    """Where they are."""
    return Path(__file__).resolve().parents[1] / "configs"


def configs_with(keys: Mapping[str, Any]) -> list[str]:
    """The zoo's configs, as ``configs/...``, in which ``keys`` have these values; one of each network and input.

    Temporal kernels may be written in several ways: ``[3, 1]`` repeats.
    """
    return [f"configs/{config}" for config in _zoo_configs() if _has(_load(config), keys)]


def _zoo_configs() -> list[str]:
    from .catalogue import ENTRIES

    # Those of other data sets have the same backbones.
    others = ("Zoo/SSv2/", "Zoo/Charades/", "Zoo/AVA/")
    chosen = [e.config for e in ENTRIES.values() if e.config and not e.config.startswith(others)]
    return list(dict.fromkeys(chosen))


@functools.cache
def _load(config: str) -> Any:
    from ..config import get_cfg

    cfg = get_cfg()
    cfg.merge_from_file(config_folder() / config)
    return cfg


def _has(cfg: Any, keys: Mapping[str, Any]) -> bool:
    depth = keys.get("MODEL.RESNET3D.DEPTH", keys.get("MODEL.SLOWFAST.DEPTH"))
    return all(_spelt_out(_value(cfg, key), depth) == _spelt_out(value, depth) for key, value in keys.items())


def _value(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _spelt_out(value: Any, depth: int | None) -> Any:
    """Temporal kernels, the only lists of four sizes, as one size per block; anything else as it is."""
    if not isinstance(value, list) or len(value) != 4 or depth is None or [] in value:
        return value
    counts = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    stages = [stage if isinstance(stage, list) else [stage] for stage in value]
    return [
        [stage[i % len(stage)] for i in range(count)] for stage, count in zip(stages, counts, strict=True)
    ]
