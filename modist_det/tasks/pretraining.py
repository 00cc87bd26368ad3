"""Self-supervised pretraining: unlabelled videos in, a visual backbone out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core import COUNT, POSITIVE, CfgNode, Key, add_section
from ..data.catalog import DatasetCatalog
from ..data.classification import ClassificationMapper
from ..data.datasets.classification import ClassificationDataset
from ..data.datasets.records import VideoRecord, VideoRecords
from ..data.pretraining import PretrainingMapper
from ..data.windows import cut_into_windows, measure_durations
from ..evaluation.feature_evaluator import FeatureEvaluator
from ..modeling.registry import META_ARCH_REGISTRY, lookup
from ..motion.maps import motion_kind
from ..utils.errors import UserError
from .base import TASK_REGISTRY, Mapper, Task, check_titles
from .pictures import PretrainingPictures

__all__ = ["PretrainingTask", "pretraining"]

# Evaluation of features (evaluation/feature_evaluator.py).
add_section(
    "TEST.FEATURES",
    NEIGHBOURS=Key(20, COUNT),  # number of neighbours in the k-NN vote
    TEMPERATURE=Key(0.07, POSITIVE),  # a neighbour's vote is exp(similarity / TEMPERATURE)
    LINEAR_PROBE=True,  # also fit a linear classifier
)


_NEEDS = "DATASETS.TEST and GALLERY of TASK pretraining need videos with one class each (formats ucf101, kinetics, ...)"


@TASK_REGISTRY.register()
def pretraining(cfg: CfgNode) -> PretrainingTask:
    """``TASK: pretraining``."""
    return PretrainingTask(cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.DATASETS.GALLERY)


class PretrainingTask(Task):
    """Trains on clips of unlabelled videos; evaluates features by retrieving gallery videos for test videos.

    Args:
        train: catalogue names or description files; datasets with ``video_records()``.
        test, gallery: names of labelled datasets with the same classes.
    """

    record_name = "video"

    def __init__(self, train: Sequence[str], test: Sequence[str] = (), gallery: Sequence[str] = ()) -> None:
        self._records = VideoRecords.join([DatasetCatalog.videos(name) for name in train]).numbered_by_video()
        self._windows: dict[float, VideoRecords] = {}  # by INPUT.WINDOW_SECONDS
        self._labelled = {
            name: DatasetCatalog.get_as(name, ClassificationDataset, _NEEDS)
            for name in dict.fromkeys([*test, *gallery])
        }
        self._labelled_records = {
            name: _with_paths_for_ids(d.records()) for name, d in self._labelled.items()
        }
        self._gallery = gallery

    def complete_config(self, cfg: CfgNode) -> None:
        if bool(cfg.DATASETS.TEST) != bool(cfg.DATASETS.GALLERY):
            raise UserError(
                "pretraining is evaluated by the neighbours of DATASETS.TEST in DATASETS.GALLERY: "
                "set both to labelled datasets, or neither"
            )
        classes = {name: dataset.metadata.class_names for name, dataset in self._labelled.items()}
        for name, names in classes.items():
            first = next(iter(classes))
            if names != classes[first]:
                raise UserError(
                    f"datasets {first} and {name} have different classes, so their labels cannot be compared"
                )
        if classes:
            cfg.MODEL.NUM_CLASSES = len(next(iter(classes.values())))
        check_titles([self.title(name) for name in cfg.DATASETS.TEST])
        method = lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")
        self._method = method
        self._views = method.views(cfg)
        cfg.MOTION.ENABLED = self._views.motion
        kind = motion_kind(cfg.MOTION.KIND)
        method.complete_config(cfg, [kind.still / 255] * kind.channels)

    def title(self, name: str) -> str:
        return self._labelled[name].metadata.name

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[VideoRecord], Mapper]:
        if not len(self._records):
            raise UserError(
                "DATASETS.TRAIN is empty; name a dataset, or a description file with 'format: videos'"
            )
        samples = self._cut(cfg.INPUT.WINDOW_SECONDS)
        self._method.check_data(cfg, len(np.unique(samples.numbers)), len(samples))
        return samples, PretrainingMapper.from_config(cfg, self._views.clips)

    def _cut(self, seconds: float) -> VideoRecords:
        """The training videos, long ones in windows. Durations are measured once, by all processes together."""
        if not seconds:
            return self._records
        if seconds not in self._windows:
            self._windows[seconds] = cut_into_windows(
                self._records, measure_durations(self._records), seconds
            )
        return self._windows[seconds]

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[VideoRecord], Mapper]:
        """The gallery's videos, then the test set's."""
        records = VideoRecords.join([self._labelled_records[part] for part in (*self._gallery, name)])
        return records, ClassificationMapper.from_config(cfg, is_train=False)

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> FeatureEvaluator:
        node = cfg.TEST.FEATURES
        return FeatureEvaluator(
            {
                video: label
                for part in self._gallery
                for video, label in _labels(part, self._labelled_records[part]).items()
            },
            _labels(name, self._labelled_records[name]),
            neighbours=node.NEIGHBOURS,
            temperature=node.TEMPERATURE,
            linear_probe=node.LINEAR_PROBE,
        )

    def pictures(self, cfg: CfgNode) -> PretrainingPictures:
        return PretrainingPictures(*self.train_data(cfg), cfg.SEED)


def _with_paths_for_ids(records: VideoRecords) -> VideoRecords:
    """Make ids unique over datasets, since several may have a ``run/1.mp4``."""
    parts = ("" if np.isnan(start) else f"@{start:g}" for start in records.starts)
    return records.with_ids(path + part for path, part in zip(records.videos, parts, strict=True))


def _labels(name: str, records: Sequence[VideoRecord]) -> dict[str, int]:
    """Class index of each video, by id."""
    labels = {}
    for record in records:
        if len(record.labels) != 1:
            raise UserError(
                f"dataset {name}: {record.id} has {len(record.labels)} classes, neighbours need one"
            )
        labels[record.id] = record.labels[0]
    return labels
