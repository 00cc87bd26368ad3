"""A config for data that was found: a network and a schedule that suit the machine and the amount of data."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from fvcore.common.config import BASE_KEY

from ..checkpoint.configs import config_folder
from ..checkpoint.handlers import PREFIX, list_names
from ..config import get_cfg
from ..core.node import flatten, lay_over, read_config
from ..inference.trained import stored_config, zoo_config
from ..utils.errors import UserError, nearest
from ..utils.files import atomic_path
from ..utils.paths import is_remote, why_missing
from ..utils.yaml_reading import read_yaml
from .find_data import FoundData

__all__ = [
    "Machine",
    "Recipe",
    "choose_start",
    "is_config",
    "make_recipe",
    "this_machine",
    "write_recipe",
]

logger = logging.getLogger(__name__)

SCRATCH = "scratch"
_PATIENCE = 5.0  # seconds in which the server of pretrained weights must answer


@dataclass(frozen=True)
class Machine:
    """What a schedule depends on."""

    cores: int
    gpu: bool


def this_machine() -> Machine:
    """The cores that this process may use, and whether there is a CUDA device."""
    return Machine(len(os.sched_getaffinity(0)), torch.cuda.is_available())


@dataclass(frozen=True)
class Recipe:
    """The first lines of a config and how much to train.

    Attributes:
        base: config below ``configs/`` that it is laid over.
        clips: number of training clips in all, however many videos there are.
        batch: clips per step.
    """

    base: str
    clips: int
    batch: int


# By task and whether there is a GPU. From random weights, a classifier learns from differences of frames (motion tells
# more than looks where videos are few); a pretrained network is given the frames that it knows.
_FROM_SCRATCH = {
    ("classification", False): Recipe("Custom/Classification_R18.yaml", 8_000, 16),
    ("classification", True): Recipe("Custom/Classification_R18.yaml", 40_000, 32),
    ("detection", False): Recipe("Custom/AVA_style_Slow_R18.yaml", 4_000, 8),
    ("detection", True): Recipe("Custom/AVA_style_Slow_R18.yaml", 20_000, 16),
    ("pretraining", False): Recipe("Custom/MotionRegression_R18.yaml", 16_000, 16),
    ("pretraining", True): Recipe("Custom/MotionRegression_R18.yaml", 80_000, 32),
}
_FINE_TUNING = {
    ("classification", False): Recipe("Base-Classification.yaml", 1_500, 8),
    ("classification", True): Recipe("Base-Classification.yaml", 20_000, 16),
    ("detection", False): Recipe("Custom/AVA_style_Slow_R18.yaml", 4_000, 8),
    ("detection", True): Recipe("Custom/AVA_style_Slow_R50.yaml", 10_000, 16),
}
# On a CPU a detector starts from random weights: the pretrained networks with maps that are fine enough take too long.
_PRETRAINED = {
    ("classification", False): "pyslowfast/x3d_xs_k400",
    ("classification", True): "pyslowfast/slow_8x8_r50_k400",
    ("detection", True): "pyslowfast/slow_8x8_r50_k400",
}
# Config keys that a network needs to compute what it did when its weights were trained.
_OF_NETWORK = (
    r"MODEL\.(BACKBONE\.NAME|{}\..+|PIXEL_MEAN|PIXEL_STD|INPUT_FORMAT|FRAME_DIFFERENCES)$"
    r"|INPUT\.(NUM_FRAMES|SAMPLING_RATE|TARGET_FPS|SAMPLING|MIN_SIZE_.+|CROP_SIZE)$"
)
_FINE_MAPS = "MODEL.RESNET3D.DILATE_RES5"  # detectors keep it, since it changes no weights
_LEAST_EPOCHS, _MOST_EPOCHS = 5, 200


def choose_start(task: str, machine: Machine, wanted: str | None) -> str:
    """The weights to start from: ``""`` for random ones. What was chosen is logged in one line.

    Args:
        wanted: a checkpoint, run folder or zoo name; "scratch"; None: a pretrained network of the zoo if it is in the
            cache or its server answers within 5 s, otherwise scratch.

    Raises:
        UserError: ``wanted`` names nothing.
    """
    if wanted == SCRATCH:
        return ""
    if wanted is not None:
        if wanted in list_names():
            return PREFIX + wanted
        if is_remote(wanted) or Path(wanted).exists():
            return wanted
        raise UserError(
            f"--from {wanted}: there is no such file, and the model zoo has no such name"
            f"{nearest(wanted, list_names(), 3)}"
        )
    name = _PRETRAINED.get((task, machine.gpu))
    if name is None:
        return ""
    if reason := why_missing(PREFIX + name, _PATIENCE):
        logger.warning("start: random weights, since the pretrained %s is not available (%s)", name, reason)
        return ""
    logger.info("start: %s of the model zoo (--from scratch for random weights)", name)
    return PREFIX + name


def make_recipe(
    found: FoundData, machine: Machine, weights: str, output: Path, epochs: float | None = None
) -> dict[str, Any]:
    """The config for the data: what differs from the defaults.

    Args:
        weights: of :func:`choose_start`. The network and its clips are then those of the weights.
        epochs: length of the training; default: by the amount of data and the machine.

    Raises:
        UserError: the weights come without a config.
    """
    key = (found.task, machine.gpu)
    recipe = (_FINE_TUNING if weights and key in _FINE_TUNING else _FROM_SCRATCH)[key]
    if epochs is None:
        epochs = min(max(recipe.clips / found.size, _LEAST_EPOCHS), _MOST_EPOCHS)
    changes: dict[str, Any] = {
        "MODEL": {"WEIGHTS": weights, "NUM_CLASSES": 0},
        "DATASETS": {"TRAIN": [found.train], "TEST": [found.val] if found.val else []},
        "DATALOADER": {"NUM_WORKERS": min(max(machine.cores - 1, 1), 8)},
        "SOLVER": {
            "IMS_PER_BATCH": min(recipe.batch, found.size),
            "MAX_EPOCH": round(float(epochs), 2),
            "WARMUP_EPOCHS": round(min(epochs / 10, 2.0), 2),
            "CHECKPOINT_PERIOD": round(max(epochs / 4, 1.0), 2),
        },
        "OUTPUT_DIR": str(output),
    }
    if found.val and found.task != "pretraining":  # the best of four evaluations
        changes["SOLVER"]["BEST_METRIC"] = "auto"
        changes["TEST"] = {"EVAL_PERIOD": changes["SOLVER"]["CHECKPOINT_PERIOD"]}
    if key in _FINE_TUNING and weights:
        changes["SOLVER"] |= {"BASE_LR": 0.01 * recipe.batch / 16, "WARMUP_START_LR": 0.001}
    config = read_config(config_folder() / recipe.base)
    if weights:
        config = lay_over(config, _network_of(weights, config))
    return lay_over(config, changes)


def _network_of(weights: str, base: dict[str, Any]) -> dict[str, Any]:
    """Backbone and input of the config that the weights were trained with, as far as they differ from ``base``."""
    cfg = zoo_config(weights.removeprefix(PREFIX)) if weights.startswith(PREFIX) else stored_config(weights)
    present = flatten(get_cfg()) | flatten(base)
    network: dict[str, Any] = {}
    for key, value in flatten(cfg).items():
        if key == _FINE_MAPS and not value:
            continue
        if value != present[key] and re.match(_OF_NETWORK.format(cfg.MODEL.BACKBONE.NAME.upper()), key):
            *path, name = key.split(".")
            node = network
            for part in path:
                node = node.setdefault(part, {})
            node[name] = value
    return network


def is_config(where: str) -> bool:
    """Whether ``where`` is a config file rather than a description file of a dataset."""
    if Path(where).suffix.lower() not in (".yaml", ".yml") or not Path(where).is_file():
        return False
    content = read_yaml(Path(where))
    return isinstance(content, dict) and ("TASK" in content or BASE_KEY in content)


def write_recipe(config: dict[str, Any], path: Path, found: FoundData) -> None:
    """Write the config, with a comment that says how it was made."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    with atomic_path(path) as temporary:
        temporary.write_text(f"# Made by modist-det train for {found.kind}.\n{text}", encoding="utf-8")
