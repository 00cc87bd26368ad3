"""Find the result file of a run."""

from __future__ import annotations

import os
from pathlib import Path

from ..data.catalog import DatasetCatalog
from ..utils.errors import UserError

__all__ = ["result_file"]


def result_file(path: str | os.PathLike, dataset_name: str) -> Path:
    """``path`` itself if it is no folder, otherwise what the run in this folder wrote about a dataset.

    Returns:
        The csv of detections or of predictions, also that of a later ``modist-det evaluate --data``.

    Raises:
        UserError: there is no such dataset, or the run was not evaluated on it.
    """
    run = Path(path)
    if not run.is_dir():
        return run
    title = DatasetCatalog.get(dataset_name).metadata.name
    for folder in (run, run / f"on_{Path(dataset_name).stem}"):
        for kind in ("detections", "predictions"):
            file = folder / "inference" / f"{title}_{kind}.csv"
            if file.is_file():
                return file
    raise UserError(
        f"{run} has no results on {title} (inference/{title}_detections.csv or {title}_predictions.csv); get them with "
        f"modist-det evaluate {run} --data {dataset_name}"
    )
