"""Images of a task for TensorBoard during training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.build import Item, collate_by_size
from ..structures.samples import Sample
from ..utils.modules import kept_modes
from ..utils.spread import evenly_spread
from ..video.reader import VideoError
from ..visualization.training import draw_views
from .base import Mapper, Pictures

__all__ = ["Pictures", "PretrainingPictures", "ScorePictures"]

logger = logging.getLogger(__name__)


class ScorePictures:
    """Draws the model's scores on a few fixed samples of a test set, which are decoded only once.

    Args:
        records, mapper: those of the test set; ``count`` evenly spaced records are used.
        class_names: by channel, from 1.
        name: name of the image.
        draw: function (samples, scores, ``class_names``) -> image.
    """

    def __init__(
        self,
        records: Sequence[Any],
        mapper: Mapper,
        class_names: Mapping[int, str],
        name: str,
        draw: Callable[[Sequence[Any], Sequence[Tensor], Mapping[int, str]], NDArray[np.uint8]],
        count: int = 6,
    ) -> None:
        chosen = [records[i] for i in evenly_spread(len(records), count)]
        self._samples = _read(chosen, mapper, np.random.default_rng(0))
        self._class_names = class_names
        self._name = name
        self._draw = draw

    def __call__(self, model: nn.Module, iteration: int) -> dict[str, NDArray[np.uint8]]:
        if not self._samples:
            return {}
        return {self._name: self._draw(self._samples, _scores(model, self._samples), self._class_names)}


class PretrainingPictures:
    """Draws training samples as the model sees them, different ones each time.

    Args:
        records, mapper: those of training.
    """

    def __init__(self, records: Sequence[Any], mapper: Mapper, seed: int, count: int = 3) -> None:
        self._records = records
        self._mapper = mapper
        self._seed = seed
        self._count = min(count, len(records))

    def __call__(self, model: nn.Module, iteration: int) -> dict[str, NDArray[np.uint8]]:
        rng = np.random.default_rng((self._seed, iteration))
        chosen = rng.choice(len(self._records), self._count, replace=False).tolist()
        samples = _read([self._records[i] for i in chosen], self._mapper, rng)
        return {"clips": draw_views(samples)} if samples else {}


@torch.no_grad()
def _scores(model: nn.Module, samples: Sequence[Sample]) -> list[Tensor]:
    """The model's scores for each sample, in evaluation mode."""
    with kept_modes(model):
        model.eval()
        scores = {
            identity: prediction["scores"]
            for batch in collate_by_size([Item(sample, []) for sample in samples])
            for identity, prediction in zip(batch["id"], model(batch), strict=True)
        }
    return [scores[sample["id"]] for sample in samples]


def _read(records: Sequence[Any], mapper: Mapper, rng: np.random.Generator) -> list[Sample]:
    """The samples of all readable records."""
    samples = []
    for record in records:
        try:
            samples.append(mapper(record, rng))
        except VideoError as error:
            logger.warning("cannot draw this sample: %s", error)
    return samples
