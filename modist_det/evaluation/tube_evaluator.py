"""Evaluates a model's frame mAP and video mAP over batches and processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..structures.tables import BoxTable
from .bootstrap import map_interval, tube_hits
from .detections import DetectionCollector
from .linking import link_detections
from .protocols import FRAME_RULES, TUBE_RULES, check_protocol
from .tube_ap import Comparison, compare_frames, compare_tubes

__all__ = ["TubeEvaluator"]

logger = logging.getLogger(__name__)

_FRAME_THRESHOLD = 0.5
_TUBE_THRESHOLDS = (0.2, 0.5, 0.75, "0.5:0.95")


class TubeEvaluator(DetectionCollector):
    """Frame mAP at 0.5 and video mAP of action scores at keyframes; see :class:`.evaluator.Evaluator` for the contract.

    Args:
        groundtruth: records of tubes in pixels, frames from 1, classes by id.
        class_names: by class id; channel ``c - 1`` of the scores is class ``c``.
        sizes: width, height (pixels) and frame rate of each video.
        every: frames between keyframes. Ground truth is compared at every ``every``-th frame of a video from its first
            annotated one on.
        output_dir: folder for ``<dataset_name>_detections.csv``; None: write nothing.
        dataset_name: for file names and messages.
        protocol: as for :func:`~modist_det.evaluation.video_map`.
        min_length: frames of the shortest linked tube; None: that of the linking.
        linking: the protocol by whose rules boxes are linked; default: ``protocol``.

    Raises:
        UserError: an unknown protocol.
    """

    def __init__(
        self,
        groundtruth: Sequence[Mapping[str, Any]],
        class_names: Mapping[int, str],
        sizes: Mapping[str, tuple[float, float, float]],
        every: int = 1,
        output_dir: str | os.PathLike[str] | None = None,
        dataset_name: str = "tubes",
        protocol: str = "recommended",
        min_length: int | None = None,
        linking: str = "",
    ) -> None:
        self._linking = linking or protocol
        for name in (protocol, self._linking):
            check_protocol(name)
        self._names = dict(class_names)
        self._sizes = sizes
        self._every = every
        self._protocol = protocol
        self._min_length = min_length
        self._first: dict[str, int] = {}
        for tube in groundtruth:
            first = int(tube["frames"][0])
            self._first[tube["video"]] = min(first, self._first.get(tube["video"], first))
        self._truth = [thinned for tube in groundtruth if (thinned := self._thinned(tube)) is not None]
        super().__init__(class_names, output_dir, dataset_name)

    def _thinned(self, tube: Mapping[str, Any]) -> dict[str, Any] | None:
        """The tube at keyframes, which are numbered from 1."""
        steps = np.asarray(tube["frames"]) - self._first[tube["video"]]
        kept = steps % self._every == 0
        if not kept.any():
            return None
        frames = steps[kept] // self._every + 1
        return {
            "video": tube["video"],
            "class": self._names[tube["class"]],
            "frames": frames,
            "boxes": np.asarray(tube["boxes"])[kept],
        }

    def evaluate(self) -> dict[str, Any]:
        """``frame_mAP``, ``video_mAP@<threshold>`` and ``AP/<class>`` (of frames); ``{}`` on processes other than
        the main one.

        With enough videos also the ends of 95 % confidence intervals, ``interval/<metric>/low`` and ``high``.
        """
        detections = self.gather()
        if detections is None:
            return {}
        self.write(detections)
        boxes = self._columns(detections)
        # A box's rows follow each other, one for each class.
        scores = detections.score.reshape(-1, len(self._names))
        best = np.arange(len(scores)) * len(self._names) + scores.argmax(axis=1)
        only_best = {name: np.asarray(column)[best] for name, column in boxes.items()}
        frames = compare_frames(
            self._truth,
            only_best if FRAME_RULES[self._protocol].best_class else boxes,
            self._protocol,
            list(self._names.values()),
        )
        linked = link_detections(
            only_best if TUBE_RULES[self._protocol].best_class else boxes,
            self._linking,
            min_length=self._min_length,
            scores="own_scores",
        )
        tubes = compare_tubes(self._truth, linked, self._protocol, list(self._names.values()))
        found = frames.results(_FRAME_THRESHOLD)[f"{_FRAME_THRESHOLD:g}"]
        metrics: dict[str, Any] = {"frame_mAP": found["mean"]}
        metrics |= self._interval("frame_mAP", frames, _FRAME_THRESHOLD)
        for threshold, result in tubes.results(_TUBE_THRESHOLDS).items():
            metrics[f"video_mAP@{threshold}"] = result["mean"]
            if ":" not in threshold:
                metrics |= self._interval(f"video_mAP@{threshold}", tubes, float(threshold))
        metrics |= {f"AP/{name}": value for name, value in found["per_class"].items()}
        logger.info("%s: protocol %s, %d linked tubes", self._dataset_name, self._protocol, len(linked))
        return {name: value for name, value in metrics.items() if value is not None}

    def _interval(self, metric: str, compared: Comparison, threshold: float) -> dict[str, float]:
        interval = map_interval(tube_hits(compared, threshold))
        return (
            {} if interval is None else {f"interval/{metric}/{end}": interval[end] for end in ("low", "high")}
        )

    def _columns(self, table: BoxTable) -> dict[str, Any]:
        """Detections as columns: keyframes numbered from 1, boxes in pixels."""
        sizes = np.array([self._sizes[name] for name in table.videos] or [(1, 1, 1)], float)[table.video]
        first = np.array([self._first[name] for name in table.videos] or [1])[table.video]
        steps = np.rint(table.second * sizes[:, 2]).astype(np.int64) + 1 - first
        return {
            "video": np.array(table.videos or [""])[table.video],
            "class": [self._names[number] for number in table.action.tolist()],
            "frame": steps // self._every + 1,
            "box": table.boxes * np.tile(sizes[:, :2], 2),
            "score": table.score,
        }
