"""torchvision's Faster R-CNN models as person detectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...checkpoint.torchvision_files import load_torchvision_weights, weights_path
from ...engine.setup import resolve_device
from ...structures.actions import PersonBoxes
from ...utils.errors import UserError, nearest
from .base import PERSON_DETECTOR_REGISTRY, Frame

__all__ = ["FasterRCNN"]

_MODELS = {
    "resnet50": "fasterrcnn_resnet50_fpn",
    "resnet50_v2": "fasterrcnn_resnet50_fpn_v2",
    "mobilenet": "fasterrcnn_mobilenet_v3_large_fpn",
    "mobilenet_320": "fasterrcnn_mobilenet_v3_large_320_fpn",
}
_PERSON = 1  # COCO's category id; 0 is the background


@PERSON_DETECTOR_REGISTRY.register()
class FasterRCNN:
    """torchvision's Faster R-CNN, trained on COCO.

    Args:
        model: "resnet50", "resnet50_v2" (the best), "mobilenet" or "mobilenet_320" (the fastest).
        weights: a file with its state dict, a URL or ``zoo://NAME``, or a torchvision weights name ("DEFAULT",
            "COCO_V1"), downloaded into the cache once.
        min_score: minimum score of boxes.
        start_score: see :class:`.PersonDetector`.
        min_size: frames are scaled to this short side (pixels); 0: the model's default (800; mobilenet_320: 320).
        device: "auto", "cpu", "cuda".

    Raises:
        UserError: the model or weights do not exist, cannot be downloaded or do not match.
    """

    min_hits = 2
    spacing = 0.0

    def __init__(
        self,
        model: str = "mobilenet",
        weights: str | os.PathLike = "DEFAULT",
        min_score: float = 0.3,
        start_score: float = 0.6,
        min_size: int = 0,
        device: str = "auto",
    ) -> None:
        # Imported late: torchvision's models take a second to import.
        from torchvision.models import get_model

        name = _name_of(model)
        scaling = {"min_size": min_size} if min_size else {}
        network = get_model(
            name, weights=None, weights_backbone=None, box_score_thresh=min_score, progress=False, **scaling
        )
        load_torchvision_weights(network, name, weights)
        self.device = resolve_device(device)
        self._network = network.to(self.device).eval()
        self.start_score = start_score

    @classmethod
    def source(cls, model: str = "mobilenet", weights: str | os.PathLike = "DEFAULT", **_: Any) -> str:
        return weights_path(_name_of(model), weights)

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        images = [
            torch.from_numpy(np.ascontiguousarray(f.image)).to(self.device).permute(2, 0, 1).float() / 255
            for f in frames
        ]
        found: list[PersonBoxes | None] = []
        for image, output in zip(images, self._network(images), strict=True):
            people = output["labels"] == _PERSON
            height, width = image.shape[-2:]
            boxes = output["boxes"][people].cpu().numpy() / np.array([width, height] * 2, np.float32)
            found.append(PersonBoxes(boxes.clip(0, 1), output["scores"][people].cpu().numpy()))
        return found


def _name_of(model: str) -> str:
    """What torchvision calls it."""
    if model not in _MODELS:
        raise UserError(
            f"person detector FasterRCNN has no model {model!r}{nearest(model, _MODELS)} "
            f"(known: {', '.join(_MODELS)})"
        )
    return _MODELS[model]
