"""Split videos into training and validation, with every class in both parts where there are videos for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...utils.errors import UserError

__all__ = ["choose_validation", "warn_of_one_sided"]

logger = logging.getLogger(__name__)

_LISTED = 10  # classes named in a warning


def choose_validation(has_class: NDArray[np.bool_], share: float, seed: int = 0) -> NDArray[np.bool_]:
    """Choose the videos for validation, such that each class has about the same share of its videos there.

    One video after the other is taken: always the one that brings the classes nearest to their share. A class of
    several videos gets at least one, and keeps at least one for training where that is possible.

    Args:
        has_class: (V, K), which of the K classes occur in each video.
        share: of the V videos, in (0, 1).
        seed: decides between videos that are equally good.

    Returns:
        Mask (V,) of the videos for validation; at least one and at most V - 1.

    Raises:
        UserError: the share is out of range, or there are fewer than two videos.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of validation videos is {share:g}, but must be between 0 and 1")
    count = len(has_class)
    if count < 2:
        raise UserError(f"there is {count} video; a split needs two")
    order = np.random.default_rng(seed).permutation(count)
    has = has_class[order].astype(np.float64)
    videos = has.sum(axis=0)
    # What is still missing in validation. A class of one video belongs to training.
    missing = np.where(videos > 1, np.clip(share * videos, 1, videos - 1), 0.0)
    weight = 1 / np.maximum(missing, 1) ** 2
    left = videos.copy()  # videos of each class that remain for training
    chosen = np.zeros(count, dtype=bool)
    for _ in range(min(max(1, round(share * count)), count - 1)):
        # Of the weighted squared distance to the wanted numbers: (m)^2 - (m - 1)^2 = 2 m - 1.
        gain = has @ (weight * (2 * missing - 1))
        gain -= 1e6 * has[:, left <= 1].sum(axis=1)  # classes that would not be left for training
        best = int(np.where(chosen, -np.inf, gain).argmax())
        chosen[best] = True
        missing -= has[best]
        left -= has[best]
    result = np.zeros(count, dtype=bool)
    result[order[chosen]] = True
    return result


def warn_of_one_sided(
    has_class: NDArray[np.bool_], in_validation: NDArray[np.bool_], names: Mapping[int, str]
) -> list[str]:
    """Log and return a warning for each part that lacks classes of the other.

    Args:
        has_class: (V, K).
        in_validation: (V,).
        names: K names by class id, in the order of the columns.
    """
    train, val = has_class[~in_validation].any(axis=0), has_class[in_validation].any(axis=0)
    labels = np.array(list(names.values()), dtype=object)
    parts = (
        ("for training only, so nothing is measured for them", train & ~val),
        ("for validation only, so they cannot be learnt", val & ~train),
    )
    warnings = []
    for text, lonely in parts:
        if lonely.any():
            some = ", ".join(labels[lonely][:_LISTED]) + (", ..." if lonely.sum() > _LISTED else "")
            warnings.append(f"{lonely.sum()} of {len(labels)} classes are there {text}: {some}")
            logger.warning("%s", warnings[-1])
    return warnings
