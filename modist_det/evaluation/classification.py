"""Accuracy of a classifier, collected over batches and processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils import comm
from ..utils.errors import UserError

__all__ = ["ClassificationEvaluator", "mean_class_accuracy", "ranks_of_labels"]

logger = logging.getLogger(__name__)


class ClassificationEvaluator:
    """Top-1, top-5 and mean class accuracy; see :class:`.evaluator.Evaluator` for the contract.

    Args:
        class_names: by class index, which is the channel of the scores.
        output_dir: folder for what is written; None: write nothing.
        dataset_name: for file names and messages.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        output_dir: str | os.PathLike | None = None,
        dataset_name: str = "videos",
    ) -> None:
        self._class_names = list(class_names)
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._dataset_name = dataset_name
        self.reset()

    def reset(self) -> None:
        self._numbers: list[int] = []
        self._ids: list[str] = []
        self._labels: list[NDArray[np.bool_]] = []
        self._scores: list[NDArray[np.float32]] = []

    def process(self, batch: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> None:
        """Take one batch.

        Args:
            batch: of length B: ``video_number``, unique in the data set; ``id``; ``labels``, (K,) of 0 and 1.
            predictions: B dicts with ``scores`` (K,).

        Raises:
            UserError: scores are of another number of classes, or not finite.
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
        """``top1``, ``top5`` (``top<K>`` where there are fewer than 5 classes) and ``mean_class_accuracy``, in [0, 1].

        ``{}`` on processes other than the main one, and where nothing was evaluated.
        """
        shards = comm.gather((self._numbers, self._ids, self._labels, self._scores))
        if not comm.is_main_process():
            return {}
        numbers = np.array([number for shard in shards for number in shard[0]], dtype=np.int64)
        # A sampler that pads shards to one length shows some videos twice.
        kept = np.unique(numbers, return_index=True)[1]
        if not len(kept):
            return {}
        labels = np.stack([row for shard in shards for row in shard[2]])[kept]
        scores = np.stack([row for shard in shards for row in shard[3]])[kept]
        ranks = ranks_of_labels(scores, labels)
        figures = {f"top{k}": float((ranks < k).mean()) for k in sorted({1, min(5, scores.shape[1])})}
        figures["mean_class_accuracy"] = mean_class_accuracy(labels.argmax(axis=1), scores.argmax(axis=1))
        return figures


def ranks_of_labels(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many classes score above the best of each row's own (N,); of equal scores the lower class index is above.

    Args:
        scores: (N, K); labels: (N, K), at least one in each row.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(labels, order, axis=1).argmax(axis=1)


def mean_class_accuracy(labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Share of right predictions among the rows of each class, averaged over the classes that occur."""
    total = np.bincount(labels)
    right = np.bincount(labels[labels == predicted], minlength=len(total))
    return float((right[total > 0] / total[total > 0]).mean())
