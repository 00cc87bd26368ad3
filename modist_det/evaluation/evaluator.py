"""The evaluator interface, and the loop that runs a model over a test set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from ..structures.samples import Batch
from ..utils import comm
from ..utils.modules import kept_modes
from ..utils.progress import progress_bar

__all__ = ["Evaluator", "inference_on_dataset"]

logger = logging.getLogger(__name__)

# The first batches include start-up costs (workers, kernels, caches) and are excluded from the timing.
_WARMUP_BATCHES = 3


_Batch_contra = TypeVar("_Batch_contra", bound=Batch, contravariant=True)
_Prediction_contra = TypeVar("_Prediction_contra", contravariant=True)


class Evaluator(Protocol[_Batch_contra, _Prediction_contra]):
    """Collects predictions batch by batch and computes metrics at the end.

    ``process`` runs on each rank for its own shard of the data. ``evaluate`` is called on every rank, gathers, and
    returns the metrics on the main process and ``{}`` elsewhere. Shards may have different sizes or be empty.
    """

    def reset(self) -> None: ...

    def process(self, batch: _Batch_contra, predictions: Sequence[_Prediction_contra]) -> None: ...

    def evaluate(self) -> dict[str, Any]: ...


@torch.no_grad()
def inference_on_dataset(
    model: nn.Module,
    batches: Iterable[Batch],
    evaluator: Evaluator[Any, Any],
    *,
    num_clips: int | None = None,
    title: str = "evaluation",
) -> dict[str, Any]:
    """Run ``model`` in evaluation mode over ``batches`` and return ``evaluator``'s metrics.

    The training mode of each module is restored afterwards. Logs this rank's time per clip, without the first batches,
    split into waiting for data and computing.

    Args:
        model: called with a batch, returns one prediction per clip.
        batches: batches of this rank's shard; ``batch["id"]`` has one entry per clip.
        num_clips: length of the shard, for the progress bar.
        title: name of this evaluation in the progress bar and the log.
    """
    evaluator.reset()
    data_seconds = compute_seconds = 0.0
    timed_clips = clips = 0
    bar = progress_bar(title, "clip", num_clips, show=comm.is_main_process())
    with kept_modes(model), bar:
        model.eval()
        last = time.perf_counter()
        for number, batch in enumerate(batches):
            arrived = time.perf_counter()
            # Turning scores into CPU arrays inside ``process`` waits for the device.
            evaluator.process(batch, model(batch))
            done = time.perf_counter()
            clips += len(batch["id"])
            if number >= _WARMUP_BATCHES:
                data_seconds += arrived - last
                compute_seconds += done - arrived
                timed_clips += len(batch["id"])
            bar.update(len(batch["id"]))
            last = done
    if timed_clips:
        logger.info(
            "%s: %d clips, %.1f ms a clip (%.1f data, %.1f model)",
            title,
            clips,
            1e3 * (data_seconds + compute_seconds) / timed_clips,
            1e3 * data_seconds / timed_clips,
            1e3 * compute_seconds / timed_clips,
        )
    else:
        logger.info("%s: %d clips", title, clips)
    return evaluator.evaluate()
