"""Metrics as a table for the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

__all__ = ["results_table"]


def results_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per test set and headline metric.

    A headline metric is a number whose name has no slash. Metrics of single classes are named ``AP/<class>`` and
    have separate tables.
    """
    rows = [
        (test_set, name, f"{value:.4f}" if isinstance(value, float) else value)
        for test_set, metrics in results.items()
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and "/" not in name
    ]
    return tabulate(rows, headers=["test set", "metric", "value"], disable_numparse=True)
