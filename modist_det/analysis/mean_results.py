"""The mean of several runs' metrics, such as those of HMDB51's three splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ..engine.metrics import read_metrics
from ..utils.errors import UserError

__all__ = ["last_figures", "last_metrics", "mean_results", "mean_table"]


def last_metrics(output_dir: str | os.PathLike) -> dict[str, float]:
    """The metrics of a run's last evaluation, by name without the test set's.

    Metrics of single classes (``AP/<class>``) and those that are no number (undefined) are left out.

    Raises:
        UserError: the folder holds no evaluation, or a test set has a metric that another one has, too.
    """
    path = Path(output_dir) / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the OUTPUT_DIR of a run")
    metrics: dict[str, float] = {}
    test_sets: dict[str, str] = {}
    for row in read_metrics(path):
        for key, value in row.items():
            test_set, _, name = key.partition("/")
            if not name or "/" in name or isinstance(value, str):
                continue
            if test_sets.setdefault(name, test_set) != test_set:
                raise UserError(
                    f"{path}: {name} is on both {test_sets[name]} and {test_set}; give runs on one test set"
                )
            if isinstance(value, (int, float)):
                metrics[name] = value
            else:
                metrics.pop(name, None)
    if not metrics:
        raise UserError(f"{path} has no metrics of an evaluation; did the run end?")
    return metrics


last_figures = last_metrics  # the name of earlier versions


def mean_results(output_dirs: Sequence[str | os.PathLike]) -> dict[str, dict[str, Any]]:
    """``mean``, ``std`` (of the sample, 0 for one run) and ``values`` of each metric that all runs have.

    Raises:
        UserError: a folder is no run's or is there twice, or the runs have no metric in common.
    """
    folders = [Path(folder).resolve() for folder in output_dirs]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is given twice; give different runs")
    runs = [last_metrics(folder) for folder in output_dirs]
    names = [name for name in runs[0] if all(name in run for run in runs)]
    if not names:
        raise UserError(f"{', '.join(map(str, output_dirs))} have no metric in common")
    values = {name: [float(run[name]) for run in runs] for name in names}
    return {
        name: {
            "mean": float(np.mean(row)),
            "std": float(np.std(row, ddof=1)) if len(row) > 1 else 0.0,
            "values": row,
        }
        for name, row in values.items()
    }


def mean_table(results: dict[str, dict[str, Any]], output_dirs: Sequence[str | os.PathLike]) -> str:
    """What :func:`mean_results` returned, as text."""
    rows = [
        (name, f"{r['mean']:.4f}", f"{r['std']:.4f}", *(f"{value:.4f}" for value in r["values"]))
        for name, r in results.items()
    ]
    headers = ["metric", "mean", "std", *(Path(folder).name for folder in output_dirs)]
    return tabulate(rows, headers=headers, disable_numparse=True)
