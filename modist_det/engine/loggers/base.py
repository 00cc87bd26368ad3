"""What the loggers share: their registry, names, and the identity of a run that is resumed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from fvcore.common.registry import Registry

from ...core import CfgNode, Key, ListOf, add_section
from ...utils.errors import UserError

__all__ = ["LOGGER_REGISTRY", "package_of", "project_of", "run_name", "stored_id"]

LOGGER_REGISTRY = Registry("LOGGER")

add_section(
    "",
    # Experiment trackers beside log.txt, metrics.json and TensorBoard: WandB, MLflow, Trackio, or your own.
    LOGGERS=Key([], ListOf(str)),
    # What they call the project; "": the name of the folder that OUTPUT_DIR is in.
    LOGGER_PROJECT="",
)


def package_of(logger: str, name: str, to_install: str) -> ModuleType:
    """The module ``name`` that a logger needs.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"LOGGERS: {logger} needs {name}, which is not installed: pip install {to_install}"
        ) from error


def project_of(cfg: CfgNode) -> str:
    """The name of the project."""
    return cfg.LOGGER_PROJECT or Path(cfg.OUTPUT_DIR).absolute().parent.name or "modist_det"


def run_name(cfg: CfgNode) -> str:
    """The name of the run: that of its folder."""
    return Path(cfg.OUTPUT_DIR).absolute().name


def stored_id(cfg: CfgNode, logger: str, new: Callable[[], str]) -> str:
    """The tracker's id of this run: as stored in OUTPUT_DIR, so that a resumed run is continued, or ``new()``."""
    path = Path(cfg.OUTPUT_DIR) / f".{logger.lower()}_run"
    if not path.is_file():
        path.write_text(new() + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
