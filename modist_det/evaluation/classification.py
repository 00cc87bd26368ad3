"""Evaluates a classifier's accuracy over batches and processes."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ..structures.samples import ClassificationBatch, Scores
from ..utils import comm
from ..utils.errors import UserError
from .accuracy import (
    average_precisions,
    confusion_matrix,
    interval_of_share,
    mean_class_accuracy,
    ranks_of_labels,
    worst_confusions,
)
from .predictions_file import prediction_rows, write_csv

__all__ = ["ClassificationEvaluator"]

logger = logging.getLogger(__name__)


class ClassificationEvaluator:
    """Evaluates class scores of videos; see :class:`.evaluator.Evaluator` for the contract.

    Args:
        class_names: names by class index, the channel of the scores.
        output_dir: folder for ``<dataset_name>_predictions.csv`` (one row per video) and, if videos have one
            label each, ``<dataset_name>_confusion.csv`` (label in rows, prediction in columns); None: write nothing.
        dataset_name: for file names and messages.
        on_confusions: called with the matrix (K, K) and the path of its csv file, once that is written.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        output_dir: str | os.PathLike[str] | None = None,
        dataset_name: str = "videos",
        on_confusions: Callable[[NDArray[np.int64], Path], None] | None = None,
    ) -> None:
        self._class_names = list(class_names)
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._dataset_name = dataset_name
        self._on_confusions = on_confusions
        self.reset()

    def reset(self) -> None:
        self._numbers: list[int] = []
        self._ids: list[str] = []
        self._labels: list[NDArray[np.bool_]] = []
        self._scores: list[NDArray[np.float32]] = []

    def process(self, batch: ClassificationBatch, predictions: Sequence[Scores]) -> None:
        """Add one batch.

        Args:
            batch: lists or tensors of length B: ``video_number``, unique in the dataset; ``id``; ``labels``, (K,) of 0
                and 1.
            predictions: B dicts with ``scores`` (K,).

        Raises:
            UserError: scores have the wrong number of classes or are not finite.
        """
        num_classes = len(self._class_names)
        rows = zip(batch["video_number"], batch["id"], batch["labels"], predictions, strict=True)
        for number, name, labels, prediction in rows:
            scores = prediction["scores"].detach().float().cpu().numpy()
            if scores.ndim != 1 or len(scores) < num_classes:
                raise UserError(
                    f"{name}: scores have shape {scores.shape}, but {self._dataset_name} has {num_classes} "
                    f"classes; set MODEL.NUM_CLASSES to {num_classes}"
                )
            if not np.isfinite(scores).all():
                raise UserError(f"{name}: the model gave scores that are not finite")
            self._numbers.append(int(number))
            self._ids.append(str(name))
            self._labels.append(np.asarray(labels)[:num_classes] > 0)
            self._scores.append(scores[:num_classes])

    def evaluate(self) -> dict[str, Any]:
        """Metrics in [0, 1]; ``{}`` on processes other than the main one, or if nothing was evaluated.

        Videos with one label each: ``top1``, ``top5`` (with more than 5 classes; with fewer it would say nothing),
        ``mean_class_accuracy``, and ``about``, a text that compares ``top1`` with chance and the majority class. With
        several labels: ``mAP`` over the classes that occur, and ``top1``, the fraction of videos whose best-scored
        class is one of their labels.
        """
        shards = comm.gather((self._numbers, self._ids, self._labels, self._scores))
        if not comm.is_main_process():
            return {}
        numbers, ids, label_rows, score_rows = (
            [x for shard in shards for x in shard[part]] for part in range(4)
        )
        if not numbers:
            return {}
        # In the dataset's order; samplers that pad shards to one length repeat some videos.
        kept = np.unique(np.array(numbers), return_index=True)[1]
        labels, scores = np.stack(label_rows)[kept], np.stack(score_rows)[kept]
        ranks = ranks_of_labels(scores, labels)
        metrics: dict[str, Any] = {"top1": float((ranks < 1).mean())}
        if (labels.sum(axis=1) > 1).any():
            metrics = {"mAP": float(np.nanmean(average_precisions(scores, labels))), **metrics}
        else:
            if scores.shape[1] > 5:
                metrics["top5"] = float((ranks < 5).mean())
            truth, predicted = labels.argmax(axis=1), scores.argmax(axis=1)
            metrics["mean_class_accuracy"] = mean_class_accuracy(truth, predicted)
            low, high = interval_of_share(int((ranks < 1).sum()), len(ranks))
            metrics |= {"interval/top1/low": low, "interval/top1/high": high}
            metrics["about"] = self._about(truth, low, high)
            self._report_confusions(confusion_matrix(truth, predicted, len(self._class_names)))
        if self._output_dir is not None:
            rows = prediction_rows([ids[i] for i in kept], self._class_names, labels, scores, ranks)
            write_csv(self._file("predictions.csv"), rows)
        return metrics

    def _about(self, truth: NDArray[np.integer], low: float, high: float) -> str:
        """What the same metric is without looking at the videos, and how sure the difference is."""
        counts = np.bincount(truth, minlength=len(self._class_names))
        majority = counts.max() / len(truth)
        known = (
            "better than"
            if low > majority
            else "worse than"
            if high < majority
            else "not distinguishable from"
        )
        commonest = self._class_names[int(counts.argmax())]
        return (
            f"{len(truth)} videos, {(counts > 0).sum()} of {len(counts)} classes occur; {known} always answering "
            f"{commonest!r} ({majority:.3f}), by the 95 % interval of top1; "
            f"chance is {1 / len(counts):.3f}"
        )

    def _report_confusions(self, matrix: NDArray[np.int64]) -> None:
        """Log the most frequent confusions and write the matrix to a file."""
        worst = worst_confusions(matrix, self._class_names)
        if worst:
            lines = [(c.label, c.predicted, c.rows, f"{c.share:.1%}") for c in worst]
            headers = ["class", "taken for", "videos", "of the class"]
            table = tabulate(lines, headers=headers, disable_numparse=True)
            logger.info("%s: most often confused\n%s", self._dataset_name, table)
        if self._output_dir is None:
            return
        header = ["label \\ predicted", *self._class_names]
        rows = [[name, *counts] for name, counts in zip(self._class_names, matrix.tolist(), strict=True)]
        path = self._file("confusion.csv")
        write_csv(path, [header, *rows])
        if self._on_confusions is not None:
            self._on_confusions(matrix, path)

    def _file(self, ending: str) -> Path:
        assert self._output_dir is not None
        return self._output_dir / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', self._dataset_name)}_{ending}"
