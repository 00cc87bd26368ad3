"""Count unreadable videos and stop the run when there are too many."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from ..structures.samples import BadVideo, Batch
from ..utils.errors import UserError

__all__ = ["BadVideo", "BadVideoMonitor", "describe_bad_videos", "num_samples"]

logger = logging.getLogger(__name__)

_LISTED = 5


def num_samples(batch: Batch) -> int:
    """The number of samples in a batch; 0 if none of its videos could be read.

    They are counted by their ids; where a task's own mapper gives none, by its clips, or else by the first entry.
    """
    names = [name for name in ("id", "video", *batch) if name in batch and name != "bad_videos"]
    return len(batch[names[0]]) if names else 0  # type: ignore[literal-required]


def describe_bad_videos(bad: Iterable[BadVideo]) -> str:
    """A one-line summary: the first few videos with their reasons, and how many more there are."""
    reasons = dict(bad)
    shown = [f"{path}: {reason}" for path, reason in list(reasons.items())[:_LISTED]]
    more = [f"and {len(reasons) - _LISTED} more"] if len(reasons) > _LISTED else []
    return "; ".join(shown + more)


class BadVideoMonitor:
    """Logs each unreadable video once and stops the run when their share exceeds a limit.

    Args:
        max_rate: largest share of requested samples that may be unreadable (``DATALOADER.MAX_BAD_VIDEO_RATE``).
        min_samples: number of samples before which the share is not checked, except by :meth:`finish`.
    """

    def __init__(self, max_rate: float = 0.01, min_samples: int = 50) -> None:
        self.max_rate = max_rate
        self.min_samples = min_samples
        self.asked = 0
        self.failed = 0
        self.reasons: dict[str, str] = {}  # path -> reason

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Count every batch and yield those that have samples; check the share once more at the end.

        Raises:
            UserError: as :meth:`update`.
        """
        for batch in batches:
            self.update(batch["bad_videos"], num_samples(batch))
            if num_samples(batch):
                yield batch
        self.finish()

    def update(self, bad_videos: Iterable[BadVideo], good: int) -> None:
        """Add a batch's unreadable videos and its number of good samples.

        Raises:
            UserError: the share of unreadable videos is above ``max_rate``; the message lists them.
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
        """Check the share regardless of ``min_samples`` (at the end of a test set)."""
        if self.failed > self.max_rate * self.asked:
            raise UserError(
                f"{self.failed} of {self.asked} samples could not be read, more than the "
                f"{self.max_rate:.2%} of DATALOADER.MAX_BAD_VIDEO_RATE: {describe_bad_videos(self.reasons.items())}"
            )
