"""Benchmark of the official AVA metric, including reading the files."""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...evaluation.ava import evaluate_ava
from ...formats.ava.files import LabelEntry, write_ava_boxes, write_detections
from .machine import describe_machine
from .report import Report, Series
from .synthetic import synthetic_detections, synthetic_ground_truth

__all__ = ["benchmark_evaluator", "csv_pass", "run_evaluator"]

_CLASSES = range(1, 81)


def run_evaluator(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py evaluator``."""
    return benchmark_evaluator(args.detections, args.boxes, args.keyframes, repeat=args.repeat)


def benchmark_evaluator(num_detections: int, num_boxes: int, num_keyframes: int, *, repeat: int) -> Report:
    """Time ``evaluate_ava`` on generated files, in pairs with :func:`csv_pass` over them.

    Args:
        num_detections, num_boxes, num_keyframes: see :mod:`modist_det.analysis.benchmark.synthetic`.
        repeat: pairs; one more goes before them and is not counted.
    """
    machine = describe_machine()
    reader, evaluation = (
        Series("one pass of csv.reader", num_detections),
        Series("evaluate_ava", num_detections),
    )
    labels = {number: LabelEntry(f"action {number}") for number in _CLASSES}
    with tempfile.TemporaryDirectory() as folder:
        truth_file, detections_file = Path(folder) / "ground_truth.csv", Path(folder) / "detections.csv"
        truth = synthetic_ground_truth(num_boxes, num_keyframes, class_ids=_CLASSES)
        write_ava_boxes(truth_file, truth)
        write_detections(detections_file, synthetic_detections(truth, num_detections, class_ids=_CLASSES))
        del truth
        csv_pass([truth_file, detections_file])
        result = evaluate_ava(truth_file, detections_file, labels)
        for _ in range(repeat):
            with reader.sample():
                csv_pass([truth_file, detections_file])
            with evaluation.sample():
                evaluate_ava(truth_file, detections_file, labels)
    evaluation.compare(reader, "x csv pass")
    return Report(
        "official AVA mAP of generated detections, parsing included",
        "detection",
        machine,
        {
            "detections": num_detections,
            "ground-truth rows": num_boxes,
            "keyframes": result["num_keyframes"],
            "classes": len(_CLASSES),
            "mAP": round(result["mAP"], 4),
        },
        [reader, evaluation],
    )


def csv_pass(paths: Sequence[str | os.PathLike]) -> int:
    """Read files with Python's csv reader, do nothing with the rows, and return their number."""
    rows = 0
    for path in paths:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for _ in csv.reader(file):
                rows += 1
    return rows
