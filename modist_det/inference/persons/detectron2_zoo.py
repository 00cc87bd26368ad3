"""detectron2's model zoo as person detectors; AVA's published person boxes come from one of its models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...engine.setup import resolve_device
from ...structures.actions import PersonBoxes
from ...utils.errors import UserError
from ...utils.paths import local_path
from .base import PERSON_DETECTOR_REGISTRY, Frame

__all__ = ["Detectron2"]

_PERSON = 0  # detectron2 numbers COCO's classes from 0, without a background class


@PERSON_DETECTOR_REGISTRY.register()
class Detectron2:
    """A detector of detectron2's model zoo, trained on COCO.

    Args:
        config: path in its zoo, or a config file. The default is the architecture behind AVA's published boxes
            (which came from a version fine-tuned on AVA).
        weights: a file, a URL or ``zoo://NAME``; default: those of its zoo, downloaded into the cache, or of
            the given config.
        min_score: minimum score of boxes.
        start_score: see :class:`.PersonDetector`.
        device: "auto", "cpu", "cuda".

    Raises:
        UserError: detectron2 is not installed, or the config or weights are not available.
    """

    min_hits = 2
    spacing = 0.0

    def __init__(
        self,
        config: str = "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml",
        weights: str | os.PathLike | None = None,
        min_score: float = 0.3,
        start_score: float = 0.6,
        device: str = "auto",
    ) -> None:
        try:
            from detectron2 import model_zoo
            from detectron2.config import get_cfg
            from detectron2.engine import DefaultPredictor
        except ImportError as error:
            raise UserError(
                f"person detector Detectron2 needs detectron2 ({error}); INSTALL.md says how to install it"
            ) from error
        cfg = get_cfg()
        try:
            if Path(config).is_file():
                cfg.merge_from_file(config)
                source = cfg.MODEL.WEIGHTS if weights is None else weights
            else:
                cfg.merge_from_file(model_zoo.get_config_file(config))
                source = model_zoo.get_checkpoint_url(config) if weights is None else weights
            if not source:
                raise UserError(f"{config} names no weights; give them with the option weights")
            cfg.MODEL.WEIGHTS = local_path(source)
            if not Path(cfg.MODEL.WEIGHTS).is_file():
                raise UserError(f"there is no weights file {cfg.MODEL.WEIGHTS}")
            cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = min_score
            cfg.MODEL.RETINANET.SCORE_THRESH_TEST = min_score
            cfg.MODEL.DEVICE = str(resolve_device(device))
            self._predictor = DefaultPredictor(cfg)
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"person detector Detectron2 with {config}: {' '.join(str(error).split())}"
            ) from error
        self.start_score = start_score

    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        return [self._detect(frame.image) for frame in frames]

    def _detect(self, image: np.ndarray) -> PersonBoxes:
        # DefaultPredictor takes BGR and converts it if the model wants RGB.
        found = self._predictor(np.ascontiguousarray(image[..., ::-1]))["instances"].to("cpu")
        people = found.pred_classes == _PERSON
        height, width = image.shape[:2]
        boxes = found.pred_boxes.tensor[people].numpy() / np.array([width, height] * 2, np.float32)
        return PersonBoxes(boxes.clip(0, 1).astype(np.float32), found.scores[people].numpy())
