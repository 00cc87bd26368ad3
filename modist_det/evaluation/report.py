"""Metrics as a table for the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

__all__ = ["results_table"]


def results_table(results: Mapping[str, Mapping[str, Any]], tablefmt: str = "simple") -> str:
    """One row per test set and headline metric.

    A headline metric is a number whose name has no slash. Metrics of single classes are named ``AP/<class>`` and
    have separate tables. ``interval/<name>/low`` and ``high`` stand beside the metric.
    A text named ``about``, which says what the metrics mean, is a line below the table.

    Args:
        tablefmt: of ``tabulate``.
    """
    rows = [
        (test_set, name, f"{value:.4f}{_interval(metrics, name)}" if isinstance(value, float) else value)
        for test_set, metrics in results.items()
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and "/" not in name
    ]
    table = tabulate(rows, headers=["test set", "metric", "value"], tablefmt=tablefmt, disable_numparse=True)
    notes = [f"{test_set}: {metrics['about']}" for test_set, metrics in results.items() if "about" in metrics]
    return "\n".join([table, *notes])


def _interval(metrics: Mapping[str, Any], name: str) -> str:
    ends = [metrics.get(f"interval/{name}/{end}") for end in ("low", "high")]
    return "" if None in ends else f" ({ends[0]:.4f} to {ends[1]:.4f})"
