"""One HTML file that shows what a detector or classifier gets right and wrong."""

from __future__ import annotations

import json
import os
import re
from importlib import resources
from typing import Any

from ...data.catalog import DatasetCatalog
from ...data.datasets.classification import ClassificationDataset
from ...data.datasets.detection import DetectionDataset
from ...utils.errors import UserError
from ...utils.files import atomic_path, check_is_file
from ..result_files import result_file
from .content import report_content
from .subjects import DetectionSubject, Subject, VideoSubject

__all__ = ["report_content", "report_page", "write_report"]


def write_report(
    dataset_name: str,
    detections: str | os.PathLike,
    out: str | os.PathLike,
    *,
    mode: str = "official",
    max_detections: int = -1,
    num_keyframes: int = 90,
    num_clips: int = 24,
    max_clip_bytes: int = 8_000_000,
) -> None:
    """Write a self-contained page with metrics, curves, keyframes and clips.

    A third of the keyframes shows the worst misses, a third the worst false positives (classes take turns in both), the
    others are evenly spread over the dataset. Misses and false positives are determined at each class's
    threshold with the highest F1.

    Args:
        dataset_name: catalogue name or description file of a dataset of keyframes with boxes, or of labelled videos.
        detections: ``<title>_detections.csv`` (AVA's format) or ``<title>_predictions.csv`` of an evaluation, or the
            run's folder. The metrics of a dataset's own evaluator are taken from ``<title>_metrics.json`` beside it.
        mode, max_detections: of the evaluation; see :func:`~modist_det.evaluation.ava.evaluate_ava` and, for -1,
            :func:`~modist_det.evaluation.ava.detection_limit`. They have no effect on labelled videos.
        num_keyframes: largest number of keyframes shown with their image.
        num_clips: number of these, worst first, with a clip of two seconds.
        max_clip_bytes: limit of the total size of the clips.

    Raises:
        UserError: files are missing or malformed, or the dataset has no annotated keyframes.
    """
    check_is_file(out)
    dataset = DatasetCatalog.get(dataset_name)
    detections = result_file(detections, dataset_name)
    subject: Subject
    if isinstance(dataset, ClassificationDataset):
        subject = VideoSubject(dataset, detections)
    elif isinstance(dataset, DetectionDataset):
        subject = DetectionSubject(dataset, detections, mode, max_detections)
    else:
        needs = "a report needs keyframes with person boxes, or videos with class labels"
        raise UserError(f"dataset {dataset_name} is a {type(dataset).__name__}; {needs}")
    if not len(subject.matched.boxes.keyframes):
        raise UserError(f"dataset {dataset_name} has no annotated keyframes")
    content = report_content(
        subject,
        detections,
        num_keyframes=num_keyframes,
        num_clips=num_clips,
        max_clip_bytes=max_clip_bytes,
    )
    with atomic_path(out) as temporary:
        temporary.write_text(report_page(content), encoding="utf-8")


def report_page(content: dict[str, Any]) -> str:
    """The page that shows ``content``."""
    folder = resources.files(__package__)
    parts = {
        "style": folder.joinpath("report.css").read_text(encoding="utf-8"),
        # No name of a class or video can end the script element that the data is in.
        "data": json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "script": folder.joinpath("report.js").read_text(encoding="utf-8"),
    }
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"<!--(style|data|script)-->", lambda mark: parts[mark[1]], page)
