"""Names of the classes of a model."""

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
from ..structures.class_facts import ClassFacts, disagreement
from ..utils.errors import UserError

__all__ = ["choose_names", "complete_names", "names_of_config", "read_names"]

logger = logging.getLogger(__name__)


def read_names(label_map: str | os.PathLike) -> dict[int, str]:
    """Name of each id of a label map in AVA's format."""
    return {number: entry.name for number, entry in read_label_map(label_map).items()}


def choose_names(
    cfg: CfgNode, weights: str, facts: ClassFacts | None, given: Mapping[int, str] | None = None
) -> dict[int, str]:
    """The names of the classes of ``weights``: those that are given, or those that the checkpoint carries.

    Weights of other projects, and of this one's early releases, carry none. Then the names are those of the config's
    datasets, and the log says so.

    Args:
        cfg: the model's.
        weights: the checkpoint's path, for messages.
        facts: the checkpoint's class facts.
        given: the names that the user gives.

    Raises:
        UserError: the checkpoint says that a class id means another class than the names that are given.
    """
    if given is not None:
        if facts is not None:
            theirs = ClassFacts("detection", max(given, default=1), given, source="the label map")
            if difference := disagreement(facts, theirs):
                raise UserError(f"{difference}; give the label map that the model was trained with, or none")
        return dict(given)
    if facts is not None:
        return dict(facts.names)
    names, origin, certain = _names_and_origin(cfg)
    if not names:
        logger.warning("%s carries no class names; give its label map", weights)
    elif certain:
        logger.info("%s carries no class names; they are those of %s", weights, origin)
    else:
        logger.warning(
            "%s carries no class names; they are taken from %s, which may belong to another project: check them, or "
            "give the label map",
            weights,
            origin,
        )
    return names


def names_of_config(cfg: CfgNode) -> dict[int, str]:
    """Names from the first of the config's datasets that is on this machine; ``{}`` where none is.

    The names of AVA and of Puppets are known without the data.
    """
    return _names_and_origin(cfg)[0]


def _names_and_origin(cfg: CfgNode) -> tuple[dict[int, str], str, bool]:
    """Names, where they come from, and whether they are certain to be those of the config."""
    datasets = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    known = {"puppets": PUPPETS, "ava": AVA_CLASSES}
    for name in datasets:
        try:
            names = dict(DatasetCatalog.get(name).metadata.class_names)
        except (UserError, OSError, AttributeError):
            continue
        return names, f"dataset {name}", names in known.values()
    for start, classes in known.items():
        if any(Path(name).name.startswith(start) for name in datasets):
            return dict(classes), f"{start.upper() if start == 'ava' else start.title()}'s classes", True
    if max(AVA_CLASSES) == cfg.MODEL.NUM_CLASSES:
        return dict(AVA_CLASSES), "AVA, whose models have 80 classes, too", False
    return {}, "", False


def complete_names(names: Mapping[int, str], num_classes: int) -> dict[int, str]:
    """The names of the classes that a model has, ascending; ``"class 7"`` where no name at all is known.

    Raises:
        UserError: a name for a class that the model does not have.
    """
    if not names:
        return {number: f"class {number}" for number in range(1, num_classes + 1)}
    if max(names) > num_classes:
        raise UserError(
            f"the label map has class id {max(names)}, but the model has {num_classes} classes (MODEL.NUM_CLASSES); "
            "give the label map that the model was trained with"
        )
    return dict(sorted(names.items()))
