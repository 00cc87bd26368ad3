"""Classification of trimmed videos: clips in, class scores out, top-1 and top-5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core import CfgNode
from ..data.catalog import DatasetCatalog
from ..data.classification import ClassificationMapper
from ..data.datasets.classification import ClassificationDataset
from ..data.datasets.records import VideoRecord, VideoRecords
from ..data.few_labels import video_share
from ..evaluation.classification import ClassificationEvaluator
from ..utils.errors import UserError
from ..visualization.confusion import draw_confusion_matrix
from ..visualization.training import draw_classified
from .base import TASK_REGISTRY, LabelledTask
from .pictures import ScorePictures

__all__ = ["ClassificationTask", "classification"]


_NEEDS = "TASK classification needs videos with class labels"


@TASK_REGISTRY.register()
def classification(cfg: CfgNode) -> ClassificationTask:
    """``TASK: classification``."""
    return ClassificationTask([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])


class ClassificationTask(LabelledTask):
    """Train on clips of labelled videos, test on several views of each.

    Args:
        names: catalogue names or description files of all datasets used; each is loaded once.
    """

    record_name = "labelled video"
    _datasets: Mapping[str, ClassificationDataset]

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: DatasetCatalog.get_as(name, ClassificationDataset, _NEEDS) for name in names})

    def class_names(self, name: str) -> tuple[str, ...]:
        """Class names of the dataset ``name``, by class index."""
        return self._datasets[name].metadata.class_names

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[VideoRecord], ClassificationMapper]:
        if not cfg.DATASETS.TRAIN:
            raise UserError("DATASETS.TRAIN is empty; name a dataset to train on, or use --eval-only")
        for name in cfg.DATASETS.TRAIN:
            if self._datasets[name].metadata.directional and cfg.INPUT.RANDOM_FLIP > 0:
                raise UserError(
                    f"INPUT.RANDOM_FLIP is {cfg.INPUT.RANDOM_FLIP:g}, but classes of dataset {name} tell left from "
                    "right; set it to 0"
                )
        share, seed = cfg.DATASETS.TRAIN_SHARE, cfg.DATASETS.TRAIN_SHARE_SEED
        parts = [video_share(self._datasets[name].records(), share, seed) for name in cfg.DATASETS.TRAIN]
        records = VideoRecords.join(parts)
        several = np.flatnonzero(np.diff(records.label_starts) > 1)
        one_each = cfg.MODEL.HEAD.ACTIVATION == "softmax" or cfg.MODEL.LOSS.NAME == "cross_entropy"
        if len(several) and one_each:
            raise UserError(
                f"DATASETS.TRAIN has videos with several labels, such as {records[several[0]].id}; set "
                "MODEL.HEAD.ACTIVATION to sigmoid and MODEL.LOSS.NAME to bce_with_logits"
            )
        return records, ClassificationMapper.from_config(cfg, is_train=True)

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[VideoRecord], ClassificationMapper]:
        return self._datasets[name].records(), ClassificationMapper.from_config(cfg, is_train=False)

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> ClassificationEvaluator:
        """The evaluator, which also draws the confusion matrix (``<title>_confusion.png``)."""
        metadata = self._datasets[name].metadata

        def draw(matrix: NDArray[np.int64], written: Path) -> None:
            draw_confusion_matrix(
                matrix, metadata.class_names, written.with_suffix(".png"), title=metadata.name
            )

        return ClassificationEvaluator(metadata.class_names, output_dir, metadata.name, draw)

    def pictures(self, cfg: CfgNode) -> ScorePictures:
        """One view of some videos of the first test set, or of the training data if there is none."""
        name = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN][0]
        cfg = cfg.clone()
        cfg.defrost()
        cfg.TEST.NUM_ENSEMBLE_VIEWS = cfg.TEST.NUM_SPATIAL_CROPS = 1
        records, mapper = self.test_data(cfg, name)
        class_names = dict(enumerate(self.class_names(name), start=1))
        return ScorePictures(records, mapper, class_names, "classes", draw_classified)
