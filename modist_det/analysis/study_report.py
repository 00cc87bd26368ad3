"""Tables, intervals and a plot of a study's results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from tabulate import tabulate

from ..utils.files import atomic_path

__all__ = ["draw_study", "paired_bootstrap", "spread", "study_tables"]

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]  # dataset -> row -> one dict a seed

_METRICS = ("linear", "knn", "R@1", "R@5")


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Difference in accuracy of two rows on the same test clips, and its 95 % interval over test clips.

    Clips are drawn with replacement, the same for both rows; each row's result on a clip is its mean over seeds.

    Args:
        first, second: (seeds, clips) of 0 and 1; the numbers of seeds may differ.

    Returns:
        ``first - second``, and the ends of the interval.
    """
    difference = np.mean(np.atleast_2d(first), axis=0) - np.mean(np.atleast_2d(second), axis=0)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(difference), size=(samples, len(difference)))
    low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)


def study_tables(results: Results, compare: Sequence[tuple[str, str]] = ()) -> str:
    """A table of each dataset, means over seeds with the range in parentheses, and one of differences; Markdown."""
    text = []
    for dataset, rows in results.items():
        names = [*_METRICS]
        names += sorted(
            {
                n
                for seeds in rows.values()
                for s in seeds
                for n in s
                if n.startswith(("fine", "motion encoder"))
            }
        )
        body = [
            [row, *(spread([seed[name] for seed in seeds if name in seed]) for name in names), len(seeds)]
            for row, seeds in rows.items()
        ]
        count = len(next(iter(rows.values()))[0]["right"]) if rows else 0
        text += [f"## {dataset} ({count} test videos)", ""]
        text += [tabulate(body, ["", *names, "seeds"], tablefmt="github", disable_numparse=True), ""]
    lines = [
        (dataset, first, second, "{:+.3f} ({:+.3f} to {:+.3f})".format(*_difference(rows, first, second)))
        for first, second in compare
        for dataset, rows in results.items()
        if first in rows and second in rows
    ]
    if lines:
        text += ["## Differences in linear accuracy, 95 % interval over test videos", ""]
        text += [
            tabulate(lines, ["", "row", "minus", "difference"], tablefmt="github", disable_numparse=True),
            "",
        ]
    return "\n".join(text)


def _difference(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], first: str, second: str
) -> tuple[float, float, float]:
    one, other = ([seed["right"] for seed in rows[name]] for name in (first, second))
    return paired_bootstrap(one, other)


def spread(values: Sequence[float]) -> str:
    """Mean, with the range in parentheses if there are several values; "-" if there are none."""
    if not values:
        return "-"
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def draw_study(results: Results, out: str | os.PathLike) -> None:
    """Write a PNG with the linear accuracy of each row on each dataset: a bar for the mean, a point a seed."""
    figure = Figure(figsize=(3.2 * len(results) + 1.5, 3.5), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (dataset, rows) in zip(panels, results.items(), strict=True):
        values = [[seed["linear"] for seed in seeds] for seeds in rows.values()]
        places = np.arange(len(values))[::-1]
        axes.barh(places, [np.mean(row) for row in values], color="#2b6cb0")
        for place, row in zip(places, values, strict=True):
            axes.plot(row, [place] * len(row), ".", color="#718096")
        axes.set_yticks(places, list(rows))
        axes.set(title=dataset, xlim=(0, 1), xlabel="linear top-1")
    with atomic_path(out) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=100)
