"""Class names of a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from ..core import CfgNode
from ..data.catalog import DatasetCatalog
from ..formats.ava.classes import AVA_CLASSES
from ..formats.ava.label_map import read_label_map
from ..puppets.labels import CLASS_NAMES as PUPPETS
from ..structures.class_facts import FIRST_ID, ClassFacts, class_name, disagreement
from ..utils.errors import UserError

__all__ = ["choose_names", "complete_names", "names_of_config", "read_names"]

logger = logging.getLogger(__name__)


def read_names(label_map: str | os.PathLike) -> dict[int, str]:
    """Read the class names by id from a label map in AVA's format."""
    return {number: entry.name for number, entry in read_label_map(label_map).items()}


def choose_names(
    cfg: CfgNode, weights: str, facts: ClassFacts | None, given: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Choose the class names for ``weights``: the given ones, or those stored in the checkpoint.

    Weights of other projects and of early releases have none. The names of the config's datasets are then used, and
    logged.

    Args:
        cfg: the model's config.
        weights: the checkpoint's path, for messages.
        facts: the checkpoint's class facts.
        given: class names given by the user.

    Raises:
        UserError: the given names contradict those in the checkpoint.
    """
    if given is not None:
        if facts is not None:
            width = max(given, default=1) + 1 - FIRST_ID[cfg.TASK]
            theirs = ClassFacts(cfg.TASK, width, given, source="the label map")
            if difference := disagreement(facts, theirs):
                raise UserError(f"{difference}; give the label map that the model was trained with, or none")
        return dict(given)
    if facts is not None:
        return dict(facts.names)
    names, origin, certain = _names_and_origin(cfg)
    if not names:
        logger.warning("%s has no class names; give its label map", weights)
    elif certain:
        logger.info("%s has no class names; using those of %s", weights, origin)
    else:
        logger.warning(
            "%s has no class names; using those of %s, which may not be the right ones: check them, or "
            "give the label map",
            weights,
            origin,
        )
    return names


def names_of_config(cfg: CfgNode) -> dict[int, str]:
    """Class names of the first of the config's datasets that is on this machine; ``{}`` if none is.

    The names of AVA and of Puppets are known without the data.
    """
    return _names_and_origin(cfg)[0]


def _names_and_origin(cfg: CfgNode) -> tuple[dict[int, str], str, bool]:
    """The names, their origin, and whether they are certain to be those of the config."""
    datasets = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    # By the beginning of a dataset's name; all of them are detection datasets.
    known = {"puppets": PUPPETS, "ava": AVA_CLASSES} if cfg.TASK == "detection" else {}
    for name in datasets:
        try:
            names = dict(DatasetCatalog.get(name).metadata.class_facts.names)
        except (UserError, OSError, AttributeError):
            continue
        return names, f"dataset {name}", names in known.values()
    for start, classes in known.items():
        if any(Path(name).name.startswith(start) for name in datasets):
            return dict(classes), f"{start.upper() if start == 'ava' else start.title()}'s classes", True
    if known and max(AVA_CLASSES) == cfg.MODEL.NUM_CLASSES:
        return dict(AVA_CLASSES), "AVA, whose models have 80 classes, too", False
    return {}, "", False


def complete_names(names: Mapping[int, str], num_classes: int, first: int = 1) -> dict[int, str]:
    """Class names of a model by ascending id; ``"class 7"`` and so on if no names are known at all.

    Args:
        first: the id of the model's first channel.

    Raises:
        UserError: a name is given for a class that the model does not have.
    """
    if not names:
        return {number: class_name(names, number) for number in range(first, num_classes + first)}
    if max(names) >= num_classes + first:
        raise UserError(
            f"the label map has class id {max(names)}, but the model has {num_classes} classes (MODEL.NUM_CLASSES); "
            "give the label map that the model was trained with"
        )
    return dict(sorted(names.items()))
