"""Weights & Biases."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ...core import CfgNode
from ...core.node import flatten
from .base import LOGGER_REGISTRY, package_of, project_of, run_name, stored_id

__all__ = ["WandB"]


@LOGGER_REGISTRY.register()
class WandB:
    """Curves over ``iteration``, texts in the summary, keys of the config. W&B's environment variables apply:
    ``WANDB_MODE=offline``, ``WANDB_ENTITY``, ...

    Args:
        run: of ``wandb.init``.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric("*", step_metric="iteration")  # a resumed run writes some steps again

    @classmethod
    def from_config(cls, cfg: CfgNode) -> WandB:
        wandb = package_of("WandB", "wandb", "wandb")
        number = stored_id(cfg, "WandB", lambda: uuid.uuid4().hex[:12])
        return cls(
            wandb.init(
                project=project_of(cfg),
                name=run_name(cfg),
                id=number,
                resume="allow",
                dir=cfg.OUTPUT_DIR,
                config=flatten(cfg),
            )
        )

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        numbers = {name: value for name, value in values.items() if name not in texts}
        self._run.log({"iteration": iteration, **numbers})
        self._run.summary.update(texts)

    def close(self) -> None:
        self._run.finish()
