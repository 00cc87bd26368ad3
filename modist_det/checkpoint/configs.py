"""The configs that come with the package, by the backbone that they describe."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core import CfgNode, default_config
from ..core.node import flatten, read_config
from ..modeling.backbone import build_backbone, keys_of
from .published_weights import ENTRIES

__all__ = ["config_folder", "configs_with"]


def config_folder() -> Path:
    """Where they are."""
    return Path(__file__).resolve().parents[1] / "configs"


def configs_with(keys: Mapping[str, Any]) -> list[str]:
    """The zoo's configs, as ``configs/...``, of the backbone with these ``keys``; one of each network and input.

    Args:
        keys: as :func:`~modist_det.modeling.backbone.keys_of` gives them.
    """
    name = "MODEL.BACKBONE.NAME"
    same_class = (c for c in _zoo_configs() if keys[name] == _model_of(c).MODEL.BACKBONE.NAME)
    return [f"configs/{config}" for config in same_class if _keys_of(config) == keys]


def _zoo_configs() -> list[str]:
    # Those of other datasets have the same backbones.
    others = ("Zoo/SSv2/", "Zoo/Charades/", "Zoo/AVA/")
    chosen = [e.config for e in ENTRIES.values() if e.config and not e.config.startswith(others)]
    return list(dict.fromkeys(chosen))


@functools.cache
def _model_of(config: str) -> CfgNode:
    """The defaults with the ``MODEL`` section of a config; of others the keys may not be declared yet."""
    cfg = default_config()
    model = flatten({"MODEL": read_config(config_folder() / config)["MODEL"]})
    cfg.merge_from_list([word for pair in model.items() for word in pair])
    return cfg


@functools.cache
def _keys_of(config: str) -> dict[str, Any]:
    with torch.device("meta"):
        return keys_of(build_backbone(_model_of(config)).state_dict())
