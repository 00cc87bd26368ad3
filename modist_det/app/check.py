"""``modist-det check``: the checks of all kinds of datasets, on whatever is recognized in a folder."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ..config import get_cfg
from ..data.catalog import DatasetCatalog
from ..data.datasets import AVADataset, ClassificationDataset
from ..data.datasets.ava_check import check_dataset, format_report
from ..data.datasets.classification_check import check_classification
from ..data.datasets.tubes import TubesDataset
from ..data.datasets.tubes_check import check_tubes
from .find_data import find_data
from .recipe import is_config

__all__ = ["check_data"]


def check_data(where: str) -> int:
    """Print what is wrong with the data; returns the exit status: 0 if nothing is.

    Raises:
        UserError: the data is not recognized.
    """
    show = sys.stderr.isatty()
    problems = 0
    with tempfile.TemporaryDirectory() as folder:
        if Path(where).is_dir():
            found = find_data(where, Path(folder))
            parts = list(filter(None, (found.train, found.val)))
            print(f"{where}: {found.kind}, for {found.task}")
        elif is_config(where):
            datasets = get_cfg(where).DATASETS
            parts = list(dict.fromkeys([*datasets.TRAIN, *datasets.TEST]))
        else:
            parts = where.split(",")
        for part in parts:
            dataset = DatasetCatalog.get(part)
            print(f"\n{Path(part).stem}")
            counted = "videos"
            if isinstance(dataset, AVADataset):
                report, counted = check_dataset(dataset, progress=show), "persons"
            elif isinstance(dataset, TubesDataset):
                report, counted = check_tubes(dataset, progress=show), "tubes"
            elif isinstance(dataset, ClassificationDataset):
                report = check_classification(dataset, progress=show)
            else:
                print(f"{len(DatasetCatalog.videos(part))} videos")
                continue
            print(format_report(report, counted=counted))
            problems += len(report.problems)
    return 1 if problems else 0
