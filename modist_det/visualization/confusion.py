"""Draw a confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..utils.files import atomic_path
from .names import shown_name

__all__ = ["draw_confusion_matrix"]

_NAMED = 60  # with more classes there is no room for names
_COUNTED = 15  # with more classes there is no room for counts in the cells


def draw_confusion_matrix(
    matrix: NDArray[np.integer], class_names: Sequence[str], path: str | os.PathLike, title: str = ""
) -> None:
    """Write a PNG with labels in rows and predictions in columns. Each row is normalized to the share of its class.

    Args:
        matrix: counts (K, K).
        class_names: K names, drawn if there is room for them.
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.28 * count, 4.0, 14.0))
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    axes.set_title(shown_name(title) if title else "")
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if count <= _NAMED:
        names = [shown_name(name) for name in class_names]
        axes.set_xticks(range(count), names, rotation=90, fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
    if count <= _COUNTED:
        for row, column in np.argwhere(matrix):
            color, text = "white" if shares[row, column] > 0.5 else "black", str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
