"""Scores from which actions are drawn: calibrated by the evaluation of the run that a checkpoint is from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..evaluation.operating_points import read_thresholds

__all__ = ["DRAW_SCORE", "calibrated_scores"]

DRAW_SCORE = 0.1  # without calibration, and the lowest with it


def calibrated_scores(checkpoint: str, class_names: Mapping[int, str]) -> dict[int, float]:
    """For each class id, the score with the highest F1 in the newest evaluation of the checkpoint's run.

    A class that was not in the evaluated data has the median of the others; none is below 0.1.

    Returns:
        Empty if the checkpoint is not in the folder of a run that was evaluated on these classes.

    Raises:
        UserError: the file of thresholds is malformed.
    """
    folder = Path(checkpoint).parent
    files = folder.parent.glob("inference/*_thresholds.json") if folder.name == "checkpoints" else []
    newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
    found = {} if newest is None else read_thresholds(newest)
    known = {number: found[name] for number, name in class_names.items() if name in found}
    if not known:
        return {}
    usual = float(np.median(list(known.values())))
    return {number: max(known.get(number, usual), DRAW_SCORE) for number in class_names}
