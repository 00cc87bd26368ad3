"""Runs side by side: how their configs differ, the metrics of their last evaluations, and whether a difference of mAP
is significant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..core.node import flatten, read_config
from ..data.catalog import DatasetCatalog
from ..data.datasets import AVADataset
from ..engine.metrics import is_evaluation, read_metrics
from ..evaluation.ava import detection_limit, match_ava
from ..evaluation.bootstrap import ava_hits
from ..utils.errors import UserError
from .compare_runs import compare_results, comparison_text
from .result_files import result_file

__all__ = ["compare_folders"]

_SAYS_NOTHING = ("OUTPUT_DIR", "VERSION")


def compare_folders(runs: Sequence[str | os.PathLike]) -> str:
    """Tables of two or more runs' output folders, a column each.

    The mAPs of detectors of one AVA-style test set, whose data is here, are also compared with the first run's.

    Raises:
        UserError: fewer than two different folders, or one that is no run's.
    """
    folders = [Path(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise UserError("a comparison needs two or more different run folders")
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    configs = [_config_of(folder) for folder in folders]
    rows = [_last_evaluation(folder) for folder in folders]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = [
        (key, *(_shown(config.get(key)) for config in configs))
        for key in keys
        if key not in _SAYS_NOTHING and any(config.get(key) != configs[0].get(key) for config in configs)
    ]
    metrics = dict.fromkeys(name for row in rows for name in row if name.count("/") == 1)
    results = [("steps", *(_shown(row.get("iteration")) for row in rows))]
    results += [
        (name, *(_shown(row.get(name)) for row in rows)) for name in metrics if not name.endswith("/about")
    ]
    parts = [
        tabulate(results, ["result", *names], disable_numparse=True),
        tabulate(differing, ["config", *names], disable_numparse=True)
        if differing
        else "the configs are the same",
    ]
    shared = [
        name for name in configs[0]["DATASETS.TEST"] if all(name in c["DATASETS.TEST"] for c in configs)
    ]
    for name in shared:
        if compared := _significance(name, dict(zip(names, folders, strict=True)), configs[0]):
            parts.append(f"{Path(name).stem}\n{compared}")
    return "\n\n".join(parts)


def _config_of(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the output folders of runs")
    return {"DATASETS.TEST": []} | flatten(read_config(path))


def _last_evaluation(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    rows = [row for row in read_metrics(path) if is_evaluation(row)] if path.is_file() else []
    return rows[-1] if rows else {}


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _significance(name: str, folders: dict[str, Path], config: dict[str, Any]) -> str:
    """Whether the differences of AVA's mAP on a test set are significant, or why that is unknown; "" for other data."""
    try:
        dataset = DatasetCatalog.get(name)
        if not isinstance(dataset, AVADataset) or dataset.annotations is None:
            return ""
        files = {run: result_file(folder, name) for run, folder in folders.items()}
        limit = detection_limit(dataset.metadata.class_names, config.get("TEST.AVA.MAX_DETECTIONS", -1))
        mode = config.get("TEST.AVA.MODE", "official")
        truth = (dataset.label_map, dataset.exclusions, mode, limit)
        hits = {run: ava_hits(match_ava(dataset.annotations, path, *truth)) for run, path in files.items()}
        return comparison_text(next(iter(hits)), compare_results(hits))
    except UserError as error:  # no data, no results, too few videos
        return f"whether the difference is significant is unknown: {error}"
