"""The classes of a video over time, as an image: frames on top, a row per class below."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..utils.files import atomic_path

__all__ = ["draw_timeline"]


def draw_timeline(
    path: str | os.PathLike,
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    scores: NDArray[np.floating],
    class_names: Sequence[str],
    duration: float,
    frames: Sequence[NDArray[np.uint8]] = (),
    title: str = "",
    rows: int = 8,
) -> None:
    """Write a PNG.

    Args:
        starts, ends: (W,), seconds of the windows.
        scores: (W, C) in [0, 1].
        class_names: C names.
        duration: seconds of the video.
        frames: uint8 RGB frames at evenly spaced times, from the middle of the first part of the video to that of the
            last.
        rows: largest number of classes shown: those with the highest scores in any window.
    """
    from matplotlib.figure import Figure

    best = np.argsort(-scores.max(axis=0), kind="stable")[:rows]
    middles = (starts + ends) / 2
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [duration]])
    strip = 1.1 if len(frames) else 0.0
    figure = Figure(figsize=(10, 1.1 + strip + 0.42 * len(best)), layout="constrained")
    axes = figure.subplots(2, 1, height_ratios=[strip or 0.01, 0.42 * len(best) + 0.3], sharex=True)
    axes[0].axis("off")
    for number, frame in enumerate(frames):
        width = duration / len(frames)
        axes[0].imshow(frame, extent=(number * width, (number + 0.97) * width, 0, 1), aspect="auto")
    axes[0].set(xlim=(0, duration), ylim=(0, 1), title=title)
    heat = axes[1].pcolormesh(
        edges, np.arange(len(best) + 1), scores[:, best].T, vmin=0, vmax=1, cmap="viridis"
    )
    axes[1].set_yticks(np.arange(len(best)) + 0.5, [class_names[i] for i in best])
    axes[1].invert_yaxis()
    axes[1].set(xlim=(0, duration), xlabel="seconds")
    figure.colorbar(heat, ax=axes[1], label="score", fraction=0.03, pad=0.01)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
