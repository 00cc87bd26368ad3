"""Trackio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core import CfgNode
from ...core.node import flatten
from .base import LOGGER_REGISTRY, package_of, project_of, run_name

__all__ = ["Trackio"]


@LOGGER_REGISTRY.register()
class Trackio:
    """Values over steps, and keys of the config, in ``TRACKIO_DIR`` (default: the cache of Hugging Face).

    Args:
        run: of ``trackio.init``.
    """

    def __init__(self, run: Any) -> None:
        self._run = run

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Trackio:
        trackio = package_of("Trackio", "trackio", "trackio")
        return cls(
            trackio.init(
                project=project_of(cfg),
                name=run_name(cfg),
                resume="allow",  # by the name
                config=flatten(cfg),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        )

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        self._run.log(dict(values), step=iteration)

    def close(self) -> None:
        self._run.finish()
