"""Counting videos that cannot be read, and stopping when there are too many."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from ..structures.samples import BadVideo, Batch
from ..utils.errors import UserError

__all__ = ["BadVideo", "BadVideoMonitor", "describe_bad_videos", "num_samples"]

logger = logging.getLogger(__name__)

_LISTED = 5


def num_samples(batch: Batch) -> int:
    """Samples in a batch; 0 when no video of it could be read."""
    return next((len(entry) for name, entry in batch.items() if name != "bad_videos"), 0)  # type: ignore[arg-type]


def describe_bad_videos(bad: Iterable[BadVideo]) -> str:
    """The first few, each with its reason, and how many more there are."""
    reasons = dict(bad)
    shown = [f"{path}: {reason}" for path, reason in list(reasons.items())[:_LISTED]]
    more = [f"and {len(reasons) - _LISTED} more"] if len(reasons) > _LISTED else []
    return "; ".join(shown + more)


class BadVideoMonitor:
    """Names each unreadable video in the log once and stops the run past a share of them.

    Args:
        max_rate: share of the samples asked for that may be unreadable (``DATALOADER.MAX_BAD_VIDEO_RATE``).
        min_samples: the share is not judged on fewer samples than these, except by :meth:`finish`.
    """

    def __init__(self, max_rate: float = 0.01, min_samples: int = 50) -> None:
        self.max_rate = max_rate
        self.min_samples = min_samples
        self.asked = 0
        self.failed = 0
        self.reasons: dict[str, str] = {}  # path -> reason

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches that have a sample, each counted; judges the share once more at the end.

        Raises:
            UserError: as :meth:`update`.
        """
        for batch in batches:
            self.update(batch["bad_videos"], num_samples(batch))
            if num_samples(batch):
                yield batch
        self.finish()

    def update(self, bad_videos: Iterable[BadVideo], good: int) -> None:
        """Count what a batch met: its unreadable videos and its number of samples.

        Raises:
            UserError: the share is above ``max_rate``; lists the videos.
        """
        bad_videos = list(bad_videos)
        for path, reason in bad_videos:
            if path not in self.reasons:
                logger.warning(
                    "left out a video that cannot be read: %s", describe_bad_videos([(path, reason)])
                )
            self.reasons[path] = reason
        self.failed += len(bad_videos)
        self.asked += good + len(bad_videos)
        if self.asked >= self.min_samples:
            self.finish()

    def finish(self) -> None:
        """Judge the share however few the samples were (at the end of a test set)."""
        if self.failed > self.max_rate * self.asked:
            raise UserError(
                f"{self.failed} of {self.asked} samples could not be read, more than the "
                f"{self.max_rate:.2%} of DATALOADER.MAX_BAD_VIDEO_RATE: {describe_bad_videos(self.reasons.items())}"
            )
