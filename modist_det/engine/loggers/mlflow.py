"""MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...core import CfgNode
from ...core.node import flatten
from .base import LOGGER_REGISTRY, package_of, project_of, run_name, stored_id

__all__ = ["MLflow"]

_LONGEST_PARAMETER = 500  # MLflow's limit for older stores


@LOGGER_REGISTRY.register()
class MLflow:
    """Metrics over steps, texts as tags, keys of the config as parameters. ``MLFLOW_TRACKING_URI`` says where to.

    Args:
        client: an ``MlflowClient``.
        run_id: of a run that it knows.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        client.update_run(run_id, status="RUNNING")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MLflow:
        client = package_of("MLflow", "mlflow", "mlflow").MlflowClient()

        def new() -> str:
            project = project_of(cfg)
            experiment = client.get_experiment_by_name(project)
            number = client.create_experiment(project) if experiment is None else experiment.experiment_id
            run_id = client.create_run(number, run_name=run_name(cfg)).info.run_id
            for key, value in flatten(cfg).items():
                client.log_param(run_id, key, str(value)[:_LONGEST_PARAMETER])
            return run_id

        return cls(client, stored_id(cfg, "MLflow", new))

    def write(self, iteration: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            allowed = re.sub(r"[^\w\-. :/]", "_", name)
            if isinstance(value, str):
                self._client.set_tag(self._run_id, allowed, value)
            else:
                self._client.log_metric(self._run_id, allowed, value, step=iteration)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)
