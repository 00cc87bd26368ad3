"""Plots of a detection run: precision-recall curves, AP of each class, scores of hits and misses."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.ava import AVAMatch, metrics
from ..evaluation.frame_ap import precision_recall
from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..visualization.names import shown_name

__all__ = ["draw_class_ap", "draw_precision_recall", "draw_score_histograms", "write_plots"]

_BLUE, _GREEN, _RED, _GREY = "#2b6cb0", "#2f855a", "#c53030", "#718096"
_COLUMNS = 5
_CELL = 2.2  # inches
_BINS = 20


def write_plots(matched: AVAMatch, folder: str | os.PathLike) -> list[Path]:
    """Write the three plots below into ``folder``; returns their paths."""
    drawers = {
        "precision_recall.png": draw_precision_recall,
        "class_ap.png": draw_class_ap,
        "score_histograms.png": draw_score_histograms,
    }
    paths = []
    for name, draw in drawers.items():
        paths.append(Path(folder, name))
        draw(matched, paths[-1])
    return paths


def draw_precision_recall(matched: AVAMatch, out: str | os.PathLike) -> None:
    """Write a PNG with the curve of each class that has ground truth, the best AP first.

    Raises:
        UserError: no class has ground truth.
    """
    curves = precision_recall(matched.counted, matched.finds >= 0, matched.boxes.counts)
    figure, panels = _panels(matched)
    for c, axes in panels:
        curve = curves[c]
        # A curve begins at recall 0 with its highest precision.
        precision = np.concatenate([curve.precision[:1], curve.precision])
        axes.step(np.concatenate([[0], curve.recall]), precision, color=_BLUE)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.supxlabel("recall")
    figure.supylabel("precision")
    _write(figure, out)


def draw_class_ap(matched: AVAMatch, out: str | os.PathLike) -> None:
    """Write a PNG with a bar for each class that has ground truth, the best first, and a line at the mean.

    Raises:
        UserError: no class has ground truth.
    """
    result = metrics(matched)
    classes = _by_ap(result["classes"])
    figure = Figure(figsize=(7, 1.2 + 0.24 * len(classes)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(classes))[::-1]
    axes.barh(places, [c["AP"] for c in classes], color=_BLUE)
    for place, c in zip(places, classes, strict=True):
        axes.text(c["AP"] + 0.01, place, f"{c['AP']:.3f}", va="center", fontsize=8)
    axes.axvline(result["mAP"], color=_RED, linewidth=1, label=f"mAP {result['mAP']:.4f}")
    axes.set_yticks(places, [f"{shown_name(c['name'])} ({c['num_groundtruth']})" for c in classes])
    axes.set(xlim=(0, 1.1), ylim=(-0.6, len(classes) - 0.4), xlabel="AP at IoU 0.5 (boxes in brackets)")
    axes.legend(loc="lower right")
    _write(figure, out)


def draw_score_histograms(matched: AVAMatch, out: str | os.PathLike) -> None:
    """Write a PNG with the scores of each class's true and false positives (counts on a logarithmic scale).

    Raises:
        UserError: no class has ground truth.
    """
    figure, panels = _panels(matched)
    counted, is_hit = matched.counted, matched.finds >= 0
    highest = max(1.0, float(counted.score.max(initial=0.0)))
    edges = np.linspace(min(0.0, float(counted.score.min(initial=0.0))), highest, _BINS + 1)
    for c, axes in panels:
        of_class = counted.class_index == c
        hits, false = counted.score[of_class & is_hit], counted.score[of_class & ~is_hit]
        axes.hist([hits, false], bins=edges.tolist(), stacked=True, color=[_GREEN, _GREY], log=True)
        axes.set(xlim=(edges[0], edges[-1]))
    figure.supxlabel("score: true positives green, false positives grey")
    figure.supylabel("detections")
    _write(figure, out)


def _panels(matched: AVAMatch) -> tuple[Figure, list[tuple[int, Axes]]]:
    """A figure with titled axes for each class that has ground truth, the best first; (class index, axes)."""
    place = {number: c for c, number in enumerate(matched.class_ids.tolist())}
    classes = _by_ap(metrics(matched)["classes"])
    columns = min(_COLUMNS, len(classes))
    rows = math.ceil(len(classes) / columns)
    figure = Figure(figsize=(_CELL * columns + 0.5, _CELL * rows + 0.5), layout="constrained")
    grid: Sequence[Axes] = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[len(classes) :]:
        axes.set_axis_off()
    panels = []
    for axes, c in zip(grid, classes, strict=False):
        axes.set_title(f"{shown_name(c['name'])}  {c['AP']:.3f}", fontsize=8)
        axes.tick_params(labelsize=7)
        panels.append((place[c["id"]], axes))
    return figure, panels


def _by_ap(classes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = [c for c in classes if c["AP"] is not None]
    if not known:
        raise UserError("there is nothing to draw: no class of the label map has ground truth")
    return sorted(known, key=lambda c: -c["AP"])


def _write(figure: Figure, out: str | os.PathLike) -> None:
    with atomic_path(out) as temporary:
        # Bound to no window system and to no global state, as pyplot would be.
        FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=100)
