"""Where else the values of a run go: experiment trackers, by the names in ``LOGGERS``.

One of your own is a class registered in ``LOGGER_REGISTRY``, with the contract
:class:`~modist_det.engine.metrics.Writer` and a classmethod ``from_config(cfg)``, called on the main process when
training begins or is resumed.
"""

from __future__ import annotations

from ...core import CfgNode
from ...utils.errors import UserError, nearest
from ..metrics import Writer
from .base import LOGGER_REGISTRY, project_of, run_name, stored_id
from .mlflow import MLflow
from .trackio import Trackio
from .wandb import WandB

__all__ = [
    "LOGGER_REGISTRY",
    "MLflow",
    "Trackio",
    "WandB",
    "build_loggers",
    "project_of",
    "run_name",
    "stored_id",
]


def build_loggers(cfg: CfgNode) -> list[Writer]:
    """The loggers named in ``LOGGERS``.

    Raises:
        UserError: there is no such logger, or its package is not installed.
    """
    known = [name for name, _ in LOGGER_REGISTRY]
    for name in cfg.LOGGERS:
        if name not in known:
            raise UserError(
                f"LOGGERS: there is no logger {name!r}{nearest(name, known)} (known: {', '.join(known)})"
            )
    return [LOGGER_REGISTRY.get(name).from_config(cfg) for name in cfg.LOGGERS]
